package send

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/progress"
)

// Options of a Sender. Zero values but URL are usable.
type Options struct {
	URL        string                                     // the whole remote_write URL
	Protocol   string                                     // "1.0" or "2.0"; "" means 2.0 if the target speaks it
	Lanes      int                                        // requests at a time; 0 means 4
	Batch      int                                        // samples a request; 0 means 5000
	BatchBytes int                                        // about; 0 means 1 MiB
	Timeout    time.Duration                              // of one request; 0 means 2 min
	Patience   time.Duration                              // how long a batch is tried; 0 means 10 min
	FirstPause time.Duration                              // before the second try; it doubles; 0 means 100 ms
	Log        func(string)                               // is told what goes wrong and is tried again; nil means nobody
	Meter      *progress.Meter                            // of samples; nil means none
	Now        func() time.Time                           // nil means time.Now
	Sleep      func(context.Context, time.Duration) error // nil means that time passes
}

func (o Options) withDefaults() Options {
	o.Lanes, o.Batch, o.BatchBytes = cmp.Or(o.Lanes, 4), cmp.Or(o.Batch, 5000), cmp.Or(o.BatchBytes, 1<<20)
	o.Timeout, o.Patience = cmp.Or(o.Timeout, 2*time.Minute), cmp.Or(o.Patience, 10*time.Minute)
	o.FirstPause = cmp.Or(o.FirstPause, 100*time.Millisecond)
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Report is what was sent.
type Report struct {
	Protocol   string   `json:"protocol"`
	Samples    int64    `json:"samples"` // written
	Histograms int64    `json:"histograms"`
	Exemplars  int64    `json:"exemplars"`
	Refused    int64    `json:"refused"` // samples, histograms and exemplars; at most, when the target does not say how many it wrote
	Reasons    []string `json:"reasons"` // the first few
	Requests   int64    `json:"requests"`
	Retries    int64    `json:"retries"`
}

// Sender sends runs. Its methods are for one goroutine.
type Sender struct {
	o      Options
	client *http.Client
	lanes  []*lane
	cancel context.CancelCauseFunc
	ctx    context.Context
	wg     sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	report Report
	one    bool // the target does not speak 2.0
	sure   bool // it does
}

// lane is one connection, and the batch that will go there next.
type lane struct {
	next *batch
	work chan *batch
	free chan *batch
}

// New returns a Sender whose requests end with the context. Close must be called.
func New(ctx context.Context, o Options) (*Sender, error) {
	o = o.withDefaults()
	s := &Sender{o: o, client: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: o.Lanes, DisableCompression: true, WriteBufferSize: 256 << 10,
	}}}
	switch o.Protocol {
	case "":
	case "1.0":
		s.one = true
	case "2.0":
		s.sure = true
	default:
		return nil, fmt.Errorf("protocol %q: it is 1.0 or 2.0", o.Protocol)
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	for range o.Lanes {
		l := &lane{next: newBatch(), work: make(chan *batch), free: make(chan *batch, 2)}
		l.free <- newBatch()
		l.free <- newBatch()
		s.lanes = append(s.lanes, l)
		s.wg.Go(func() { s.drive(l) })
	}
	return s, nil
}

// drive sends the batches of a lane.
func (s *Sender) drive(l *lane) {
	var e encoder
	for b := range l.work {
		if s.ctx.Err() == nil {
			if err := s.deliver(s.ctx, &e, b); err != nil {
				s.cancel(err)
			}
		}
		b.reset()
		l.free <- b
	}
}

// pack encodes and compresses a batch.
func (e *encoder) pack(b *batch, v2 bool) (_ []byte, err error) {
	var body []byte
	if v2 {
		body, err = e.v2(b)
	} else {
		body, err = e.v1(b)
	}
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	return s2.EncodeSnappy(nil, body), nil
}

// Send takes a run, whose slices the caller may use again afterwards. An error is of any run so far.
func (s *Sender) Send(r *flow.Run) error {
	hash := r.Labels.Hash()
	l := s.lanes[hash%uint64(len(s.lanes))]
	rest := *r
	for rest.Len() > 0 {
		if err := s.ctx.Err(); err != nil {
			return context.Cause(s.ctx)
		}
		took := l.next.add(hash, &rest, s.o.Batch, s.o.BatchBytes)
		rest.Floats, rest.Histograms, rest.Exemplars = rest.Floats[took.samples:], rest.Histograms[took.histograms:], rest.Exemplars[took.exemplars:]
		if took.total() == 0 {
			s.hand(l)
		}
	}
	return nil
}

// hand gives a lane's next batch to its connection and takes an empty one.
func (s *Sender) hand(l *lane) {
	if l.next.total() == 0 {
		return
	}
	empty := <-l.free
	l.work <- l.next
	l.next = empty
}

// Flush returns when everything was answered. An error is of any run so far.
func (s *Sender) Flush() error {
	for _, l := range s.lanes {
		s.hand(l)
	}
	for _, l := range s.lanes { // a lane that has given back both of its other batches is idle
		x, y := <-l.free, <-l.free
		l.free <- x
		l.free <- y
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// Close ends the connections. What was not flushed is not sent.
func (s *Sender) Close() error {
	s.cancel(errClosed)
	for _, l := range s.lanes {
		close(l.work)
	}
	s.wg.Wait()
	s.client.CloseIdleConnections()
	if err := context.Cause(s.ctx); !errors.Is(err, errClosed) {
		return err
	}
	return nil
}

var errClosed = errors.New("the sender is closed")
