package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
)

// A keeper is an Appender that keeps every batch beyond its request.
type keeper struct {
	kept    []*series.Batch
	texts   []string // of what is kept, as it was
	release []func()
	refused int
}

func (k *keeper) Append(_ context.Context, b *series.Batch) error {
	release := b.Keep()
	if release == nil {
		k.refused++
		return nil
	}
	same := *b // the request forgets its own lists when the last one gives it back
	k.kept, k.texts, k.release = append(k.kept, &same), append(k.texts, textOf(b)), append(k.release, release)
	return nil
}

func textOf(b *series.Batch) string {
	var s strings.Builder
	for _, e := range b.Series {
		fmt.Fprintf(&s, "%q %v\n", e.Key, b.Samples[e.First:e.First+e.Count])
	}
	return s.String()
}

// What is kept of a batch stays as it is while other requests come and go, and its memory counts until it is given back.
func TestWriteKept(t *testing.T) {
	k := &keeper{}
	h := NewWriteHandler(k, WriteOptions{}).(*writeHandler)
	for i := range 60 {
		name := fmt.Sprint("m", i)
		s := appendSample(nil, int64(i+1), float64(i))
		// The second series has its labels behind its sample: its key does not lie in the request.
		postV1(h, slices.Concat(field(1, label("__name__", name), s), field(1, s, label("__name__", name), label("split", "x"))))
		postV2(h, oneV2)
		if i%3 == 0 && len(k.release) > 4 {
			k.release[0]()
			k.kept, k.texts, k.release = k.kept[1:], k.texts[1:], k.release[1:]
		}
	}
	if len(k.kept) < 50 || k.refused > 0 {
		t.Fatalf("%d batches are kept, %d could not be", len(k.kept), k.refused)
	}
	for i, b := range k.kept {
		if got := textOf(b); got != k.texts[i] {
			t.Errorf("batch %d is\n%swant\n%s", i, got, k.texts[i])
		}
	}
	if h.budget.used.Load() == 0 {
		t.Error("what is kept does not count")
	}
	for _, release := range k.release {
		release()
	}
	if used := h.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
}

// What is kept leaves room for the requests that come.
func TestWriteKeptIsBounded(t *testing.T) {
	k := &keeper{}
	h := NewWriteHandler(k, WriteOptions{MaxInFlight: 64 << 10}).(*writeHandler)
	for i := range 100 {
		if w := postV1(h, oneV1); w.Code != 204 {
			t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
		}
	}
	if k.refused == 0 || len(k.kept) == 0 {
		t.Errorf("%d batches are kept, %d could not be", len(k.kept), k.refused)
	}
}
