package hot

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// sharing returns another key with the same place.
func sharing(t *Table[int], key uint64) uint64 {
	other := key + 1
	for t.at(other) != t.at(key) {
		other++
	}
	return other
}

func TestValuesAreLetIn(t *testing.T) {
	table := NewTable[int](6, 1000)
	a := uint64(7)
	b := sharing(table, a)
	for i, step := range []struct {
		key uint64
		due bool
	}{{a, false}, {b, false}, {a, false}, {a, true}, {b, false}, {b, true}} {
		if due := table.Due(step.key); due != step.due {
			t.Fatalf("step %d: key %d is due: %v, want %v", i, step.key, due, step.due)
		}
	}
	table.Put(a, 70, 10)
	if v, ok := table.Get(a); !ok || v != 70 {
		t.Errorf("got %d, %v", v, ok)
	}
	if _, ok := table.Get(b); ok {
		t.Error("the value of another key")
	}
	table.Put(b, 80, 20)
	if _, ok := table.Get(a); ok || table.bytes.Load() != 20 {
		t.Errorf("two values in one place, or %d bytes, want 20", table.bytes.Load())
	}
	table.Put(a, 1, 1000)
	if _, ok := table.Get(b); !ok {
		t.Error("a value that is too large pushed another out")
	}
}

// However many values come, from however many goroutines, each is that of its key, and they take no more than they may.
func TestTableIsBounded(t *testing.T) {
	table := NewTable[uint64](8, 5000)
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			for range 20_000 {
				key := r.Uint64N(600)
				if v, ok := table.Get(key); ok && v != key*key {
					t.Errorf("key %d has %d", key, v)
				}
				if table.Due(key) {
					table.Put(key, key*key, 1+int64(key%100))
				}
			}
		})
	}
	wg.Wait()
	total, n := int64(0), 0
	for i := range table.slots {
		if e := table.slots[i].entry.Load(); e != nil {
			total += e.size
			n++
		}
	}
	if total != table.bytes.Load() || total > 5000 || n < 20 {
		t.Errorf("%d values of %d bytes, counted as %d; there may be 5000", n, total, table.bytes.Load())
	}
}
