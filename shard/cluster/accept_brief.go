package cluster

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
)

const (
	mostBrief  = 32 << 20  // bytes of one
	mostBriefs = 128 << 20 // bytes of memory of all that are at hand
	briefGrows = 5         // a brief, and what it is decoded into, are at most so much larger than it
)

// briefWork is the memory that a write with a brief works in.
type briefWork struct {
	b     []byte
	batch series.Batch
}

var briefWorks = sync.Pool{New: func() any { return new(briefWork) }}

const maxPooledBrief = 1 << 20

// read reads a write. The batch lives until release is called: first the series of the request, then those of the brief.
func (h *acceptHandler) read(r *http.Request) (b *series.Batch, release func(), err error) {
	text := r.Header.Get(headerBrief)
	if text == "" {
		if b, release, err = h.decode(r); err != nil {
			return nil, nil, &statusError{codeOf(err), err.Error()}
		}
		return b, release, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 || int64(n) > r.ContentLength || n > mostBrief {
		return nil, nil, &statusError{http.StatusBadRequest, fmt.Sprintf("the length of the brief, %.40q, is not from 1 to that of the body, %d, and %d", text, r.ContentLength, mostBrief)}
	}
	if h.briefs.Add(int64(briefGrows*n)) > mostBriefs {
		h.briefs.Add(int64(-briefGrows * n))
		return nil, nil, fmt.Errorf("other nodes send more than this one can store: %w", series.ErrOverload)
	}
	w := briefWorks.Get().(*briefWork)
	end := func() {
		h.briefs.Add(int64(-briefGrows * n))
		if w.batch.Reset(); cap(w.b) <= maxPooledBrief {
			briefWorks.Put(w)
		}
	}
	rest, err := h.readBrief(r, w, n)
	if err != nil {
		end()
		return nil, nil, err
	}
	return &w.batch, func() {
		rest()
		end()
	}, nil
}

// readBrief reads a write with a brief of n bytes into w's batch. What it returns gives back the rest of the memory.
func (h *acceptHandler) readBrief(r *http.Request, w *briefWork, n int) (rest func(), err error) {
	w.b = slices.Grow(w.b[:0], n)[:n]
	if _, err := io.ReadFull(r.Body, w.b); err != nil {
		return nil, &statusError{http.StatusBadRequest, fmt.Sprintf("the body ends early: %v", err)}
	}
	b := &w.batch
	rest = func() {}
	if r.ContentLength > int64(n) {
		request, release, err := h.decode(r)
		if err != nil {
			return nil, &statusError{codeOf(err), err.Error()}
		}
		rest = release
		b.Series, b.Samples = append(b.Series, request.Series...), append(b.Samples, request.Samples...)
		b.Histograms, b.Exemplars, b.Metadata = append(b.Histograms, request.Histograms...), append(b.Exemplars, request.Exemplars...), append(b.Metadata, request.Metadata...)
		b.Rejected = request.Rejected
		for i := range b.Series {
			b.IDs = append(b.IDs, series.HashKey(b.Series[i].Key))
		}
	} else if _, err := io.Copy(io.Discard, r.Body); err != nil { // what authenticates the body is at its end
		return nil, &statusError{http.StatusBadRequest, fmt.Sprintf("the body cannot be read: %v", err)}
	}
	if err := decodeBrief(b, w.b); err != nil {
		rest()
		return nil, &statusError{http.StatusBadRequest, err.Error()}
	}
	return rest, nil
}
