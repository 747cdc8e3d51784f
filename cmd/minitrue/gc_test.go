package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Each collection is heard of, and not only the first.
func TestAfterGC(t *testing.T) {
	var calls atomic.Int64
	afterGC(func(live uint64) {
		if live == 0 {
			t.Error("nothing is alive")
		}
		calls.Add(1)
	})
	deadline := time.Now().Add(time.Minute)
	for calls.Load() < 5 {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls", calls.Load())
		}
		runtime.GC()
		runtime.Gosched()
	}
}
