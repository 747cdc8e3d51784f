package replicate

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/cluster"
)

// place is where a sample lies.
type place struct {
	key string
	t   int64
}

// otherCluster is a remote_write that remembers what it got.
type otherCluster struct {
	*httptest.Server
	// answer may answer instead: it says whether it has, and whether what came is stored.
	answer func(w http.ResponseWriter, r *http.Request, m *prompb.WriteRequest) (answered, stored bool)

	requests atomic.Int64
	mu       sync.Mutex // guards the fields below
	values   map[place]uint64
	newest   map[string]int64
	late     int // samples that came for the first time, and after later ones of their series
	other    int // histograms, exemplars and metadata
	headers  http.Header
}

func newOther(t *testing.T) *otherCluster {
	o := &otherCluster{values: map[place]uint64{}, newest: map[string]int64{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *otherCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.requests.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	plain, err := s2.Decode(nil, body)
	var m prompb.WriteRequest
	if err == nil {
		err = m.Unmarshal(plain)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if o.answer != nil {
		answered, stored := o.answer(w, r, &m)
		if stored {
			o.store(r, &m)
		}
		if answered {
			return
		}
	}
	o.store(r, &m)
	w.WriteHeader(http.StatusNoContent)
}

func keyOf(ls []prompb.Label) (key []byte) {
	for _, l := range ls {
		key = series.AppendLabel(key, l.Name, l.Value)
	}
	return key
}

func (o *otherCluster) store(r *http.Request, m *prompb.WriteRequest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.headers = r.Header
	o.other += len(m.Metadata)
	for _, ts := range m.Timeseries {
		key := string(keyOf(ts.Labels))
		o.other += len(ts.Histograms) + len(ts.Exemplars)
		for _, s := range ts.Samples {
			p := place{key, s.Timestamp}
			if _, again := o.values[p]; !again && s.Timestamp < o.newest[key] {
				o.late++
			}
			o.values[p] = math.Float64bits(s.Value)
			o.newest[key] = max(o.newest[key], s.Timestamp)
		}
	}
}

func (o *otherCluster) has() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.values)
}

// ownCluster stores everything, and rejects or fails when it is told to.
type ownCluster struct {
	reject func(b *series.Batch)
	err    atomic.Pointer[error]
	stored atomic.Int64
}

func (c *ownCluster) Append(_ context.Context, b *series.Batch) error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	if c.reject != nil {
		c.reject(b)
	}
	c.stored.Add(int64(len(b.Samples)))
	return nil
}

// logged is what was logged.
type logged struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// newReplicator opens a replicator in a folder, which is closed by stop.
func newReplicator(t *testing.T, dir string, own Appender, o Options, targets ...string) *Replicator {
	t.Helper()
	for _, u := range targets {
		parsed, err := ParseURL(u)
		if err != nil {
			t.Fatal(err)
		}
		o.Targets = append(o.Targets, parsed)
	}
	o.Encode = cluster.Encode
	if o.Backoff == 0 {
		o.Backoff, o.MaxBackoff = time.Millisecond, 20*time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testLog{t}, nil))
	}
	r, err := New(dir, own, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// start runs a replicator until stop is called, or the test ends.
func start(t *testing.T, r *Replicator) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits for a condition.
func until(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !good(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute has passed, and not: %s", what)
		}
	}
}

// batchOf makes a batch of samples with this time, of so many series.
func batchOf(n int, at int64, v float64) *series.Batch {
	b := &series.Batch{}
	for i := range n {
		b.Series = append(b.Series, series.Entry{Key: keyOfNumber(i), First: i, Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: at, V: v})
	}
	return b
}

func keyOfNumber(i int) []byte {
	return series.AppendLabel(series.AppendLabel(nil, "__name__", "m"), "number", fmt.Sprint(i))
}

// put appends a batch, which must be taken.
func put(t *testing.T, r *Replicator, b *series.Batch) {
	t.Helper()
	if err := r.Append(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}
