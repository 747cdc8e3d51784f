package ingest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// Writes wait while it is found out who wants them: a reader with very many selectors is refused.
func TestTapRefusesManySelectors(t *testing.T) {
	tap := NewTap(TapOptions{})
	r, err := tap.newReader(sockets, slices.Repeat([]string{`{a="b"}`}, maxMatchers+1))
	if err != nil {
		return
	}
	b := &series.Batch{}
	for i := range 1000 {
		b.Series = append(b.Series, series.Entry{Key: series.AppendLabel(nil, "a", fmt.Sprint(i)), First: i, Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: 1, V: 1})
	}
	if err := tap.add(r); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	tap.offer(b)
	t.Errorf("%d selectors are accepted, and a batch of 1,000 series waits %v", len(r.selectors), time.Since(start))
}

func TestTapTakesSomeSelectors(t *testing.T) {
	if _, err := NewTap(TapOptions{}).newReader(sockets, slices.Repeat([]string{`{a="b"}`}, maxMatchers)); err != nil {
		t.Error(err)
	}
}

// A sample that comes from a node which is gone before there is room for it takes no room either.
func TestPassGivesUp(t *testing.T) {
	r, err := NewTap(TapOptions{Queue: 1}).newReader(sockets, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.pass(ctx, tapped{key: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.pass(ctx, tapped{key: []byte("second")}); err == nil {
		t.Fatal("it is passed on")
	}
	if n := r.queued.Load(); n != int64(len("first")) {
		t.Errorf("%d bytes are queued", n)
	}
}
