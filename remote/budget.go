package remote

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"unsafe"
)

// A budget is the memory that all requests in flight may hold together.
type budget struct {
	max  int64
	used atomic.Int64
}

// A lease is one request's part of a budget. It is used by one goroutine.
type lease struct {
	from *budget
	held int64
}

// take asks for n more bytes before they are allocated. A request that would not fit if
// it were alone gets 413; one that does not fit beside the others gets 503, which senders
// retry (many of them drop what got a 429).
func (l *lease) take(n int64) error {
	if n > l.from.max-l.held {
		return &requestError{http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the request needs more than %d bytes of memory: send fewer series or samples at once", l.from.max)}
	}
	if l.from.used.Add(n) > l.from.max {
		l.from.used.Add(-n)
		return &requestError{http.StatusServiceUnavailable,
			fmt.Sprintf("the requests in flight hold %d bytes of memory already: try again later", l.from.max)}
	}
	l.held += n
	return nil
}

// release gives everything back.
func (l *lease) release() {
	l.from.used.Add(-l.held)
	l.held = 0
}

// room returns s with place for n more elements, charged to the lease. What it
// outgrew stays charged until the end of the request: it may still be pointed to.
func room[T any](l *lease, s []T, n int) ([]T, error) {
	if cap(s)-len(s) >= n {
		return s, nil
	}
	c := max(2*cap(s), len(s)+n, 64)
	if err := l.take(int64(c) * size[T]()); err != nil {
		return s, err
	}
	return append(make([]T, 0, c), s...), nil
}

// footprint is the memory that a slice holds, used or not.
func footprint[T any](s []T) int64 { return int64(cap(s)) * size[T]() }

func size[T any]() int64 {
	var t T
	return int64(unsafe.Sizeof(t))
}
