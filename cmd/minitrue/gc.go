package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Most memory of a node is not in Go's heap, and what is there is mostly free of pointers: it may grow by half between two collections. On
// most nodes that would be a few MiB, and collections dozens of times a second under load; so it may grow by gcSpare at least.
const (
	gcPercent = 50
	gcSpare   = 24 << 20
)

// tuneGC keeps Go's garbage collector to gcPercent and gcSpare, unless the environment says how much the heap may grow.
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := gcPercent
	debug.SetGCPercent(percent)
	afterGC(func(live uint64) {
		want := max(gcPercent, int(gcSpare*100/max(live, 1<<20)))
		if want < percent*4/5 || want > percent*5/4 || want == gcPercent && percent != gcPercent { // to set it stops the world
			percent = want
			debug.SetGCPercent(percent)
		}
	})
}

// afterGC calls f after each collection with the bytes that it left.
func afterGC(f func(live uint64)) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	type sentinel struct{ _ [16]byte }
	var again func(*sentinel)
	again = func(s *sentinel) {
		metrics.Read(sample)
		f(sample[0].Value.Uint64())
		runtime.SetFinalizer(s, again) // it is found to be garbage once more by the next collection
	}
	runtime.SetFinalizer(&sentinel{}, again)
}
