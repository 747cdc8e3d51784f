package remote

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/series"
)

// Decoder turns the bodies of remote_write requests into batches. All requests that it decodes share its limits.
type Decoder struct {
	o       WriteOptions
	budget  budget
	metrics *writeMetrics
	pool    sync.Pool // of *writeRequest
}

// NewDecoder returns a decoder.
func NewDecoder(o WriteOptions) *Decoder {
	d := &Decoder{o: o.withDefaults()}
	d.budget.max = d.o.MaxInFlight
	d.metrics = newWriteMetrics(d.o.Registry, &d.budget)
	d.pool.New = func() any {
		q := &writeRequest{decoder: decoder{lease: lease{from: &d.budget}}}
		q.batch.Keep = func() (release func()) { return d.keep(q) }
		return q
	}
	return d
}

// Decode reads a remote_write 1.0 request that another node sent. The batch lives until release is called. An error has a method
// StatusCode, which says what to answer.
func (d *Decoder) Decode(r *http.Request) (b *series.Batch, release func(), err error) {
	q, err := d.decode(r, version1)
	if err != nil {
		return nil, nil, err
	}
	return &q.batch, func() { d.give(q) }, nil
}

// A writeRequest is the memory that one request works in.
type writeRequest struct {
	decoder
	body, plain []byte
	users       atomic.Int32 // who the memory is not taken from: the request, and those who keep its batch
}

// decode reads a request. The caller gives what it gets back.
func (d *Decoder) decode(r *http.Request, version string) (*writeRequest, error) {
	q := d.pool.Get().(*writeRequest)
	good := false
	defer func() {
		if !good {
			q.lease.release()
		}
	}()
	err := q.lease.take(q.footprint())
	if err == nil {
		err = d.fill(q, r, version)
	}
	if err != nil {
		return nil, err
	}
	good = true
	q.users.Store(1)
	return q, nil
}

// keptPart is the part of the budget that is in use at most when a batch is kept beyond its request: the next ones need room.
const keptPart = 4

// keep lets somebody have the batch for longer than its request, unless memory is short.
func (d *Decoder) keep(q *writeRequest) (release func()) {
	if d.budget.used.Load() > d.budget.max/keptPart {
		return nil
	}
	q.users.Add(1)
	return func() { d.give(q) }
}

// fill reads a request into q's batch.
func (d *Decoder) fill(q *writeRequest, r *http.Request, version string) (err error) {
	if q.body, err = readBody(r, q.body, d.o.MaxBody, &q.lease); err != nil {
		return err
	}
	d.metrics.bytes.Add(float64(len(q.body)))
	if q.plain, err = decompress(q.plain, q.body, d.o.MaxDecoded, &q.lease); err != nil {
		return err
	}
	if version == version2 {
		return q.decodeV2(q.plain)
	}
	return q.decodeV1(q.plain)
}

// maxRetained is how much memory a request may leave to the next one.
const maxRetained = 16 << 20

func (q *writeRequest) footprint() int64 {
	return q.decoder.footprint() + footprint(q.body) + footprint(q.plain)
}

// give ends one use of a request; the last one gives its memory to the next one. The caller must not touch it again.
func (d *Decoder) give(q *writeRequest) {
	if q.users.Add(-1) > 0 {
		return
	}
	q.lease.release()
	if q.reset(); q.footprint() <= maxRetained {
		d.pool.Put(q)
	}
}
