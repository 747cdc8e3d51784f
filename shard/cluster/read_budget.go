package cluster

import (
	"fmt"
	"sync/atomic"
)

// tooMuch is the error of a query whose answer needs more memory than it may take.
type tooMuch struct{ max int64 }

func (e *tooMuch) Error() string {
	return fmt.Sprintf("read: the answers of other nodes need more than %d MiB of memory: ask for less time or fewer series", e.max>>20)
}

// budget bounds the memory of the answers to one query.
type budget struct {
	used atomic.Int64
	max  int64
}

// take takes n bytes, or returns an error.
func (b *budget) take(n int64) error {
	if b.used.Add(n) > b.max {
		return &tooMuch{b.max}
	}
	return nil
}

// give gives back what was taken for an answer that is thrown away.
func (b *budget) give(n int64) { b.used.Add(-n) }
