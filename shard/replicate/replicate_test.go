package replicate

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/series"
)

// moods are answers of a target that is not well, of which a sender knows nothing but that it must try again.
func moods(r *rand.Rand) func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (answered, stored bool) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (answered, stored bool) {
		mu.Lock()
		mood := r.IntN(12)
		mu.Unlock()
		switch mood {
		case 0:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			w.WriteHeader(http.StatusUnauthorized)
		case 3, 4: // cut off: before it has stored anything, or after
			c, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = buf.WriteString("HTTP/1.1 20")
			_ = errors.Join(buf.Flush(), c.Close())
			return true, mood == 4
		default:
			return false, false
		}
		return true, false
	}
}

// Many write at once while the target is sick in all ways, and the sender is restarted: everything arrives, bit for bit, and each series in order.
func TestEverythingArrives(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	other := newOther(t)
	other.answer = moods(rand.New(rand.NewPCG(seed, 1)))
	dir, want := t.TempDir(), map[place]uint64{}
	values := []float64{math.NaN(), math.Float64frombits(value.StaleNaN), math.Float64frombits(0x7ff8dead_beef0001), math.Inf(-1), math.Copysign(0, -1), 0.1}
	for run := range 4 {
		r := newReplicator(t, dir, &ownCluster{}, Options{Logger: slog.New(slog.DiscardHandler)}, other.URL)
		stop := func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if run != 1 { // once, all waits for the next process
			stop = start(t, r)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			n := 30 + rnd.IntN(30)
			for i := range n {
				for s := range 50 {
					want[place{string(keyOfNumber(1000*w + s)), int64(1000*run + i)}] = math.Float64bits(values[(i+s)%len(values)])
				}
			}
			wg.Go(func() {
				for i := range n {
					b := &series.Batch{}
					for s := range 50 {
						b.Series = append(b.Series, series.Entry{Key: keyOfNumber(1000*w + s), First: s, Count: 1})
						b.Samples = append(b.Samples, series.Sample{T: int64(1000*run + i), V: values[(i+s)%len(values)]})
					}
					put(t, r, b)
				}
			})
		}
		wg.Wait()
		stop()
	}
	r := newReplicator(t, dir, &ownCluster{}, Options{Logger: slog.New(slog.DiscardHandler)}, other.URL)
	start(t, r)
	until(t, "nothing waits", func() bool { return r.targets[0].queue.Pending(queueName) == 0 })
	other.mu.Lock()
	defer other.mu.Unlock()
	for p, bits := range want {
		if got, ok := other.values[p]; !ok || got != bits {
			t.Fatalf("%s at %d is %x there (%v), want %x", p.key, p.t, got, ok, bits)
		}
	}
	if len(other.values) != len(want) || other.late > 0 {
		t.Errorf("%d samples arrived of %d, %d of them after later ones", len(other.values), len(want), other.late)
	}
}

// What the own cluster does not store is not sent: neither what it rejects, nor what it fails to store.
func TestOnlyWhatIsStoredIsSent(t *testing.T) {
	other, own := newOther(t), &ownCluster{reject: func(b *series.Batch) { b.Reject(0, "test", errors.New("no")) }}
	r := newReplicator(t, t.TempDir(), own, Options{}, other.URL)
	start(t, r)
	put(t, r, batchOf(3, 1, 1))
	full := series.ErrUnavailable
	own.err.Store(&full)
	if err := r.Append(context.Background(), batchOf(3, 2, 1)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	own.err.Store(nil)
	put(t, r, batchOf(3, 3, 1))
	until(t, "both arrived", func() bool { return other.has() == 4 })
	other.mu.Lock()
	defer other.mu.Unlock()
	for p := range other.values {
		if p.t == 2 || p.key == string(keyOfNumber(0)) {
			t.Errorf("%s at %d was sent", p.key, p.t)
		}
	}
	if got := other.headers.Get(Header); got != "minitrue" {
		t.Errorf("the mark is %q", got)
	}
}

// There is no room: writes are accepted all the same, what was promised before arrives, and it is said from when to when something is missing.
func TestQueueIsFull(t *testing.T) {
	other, own, log := newOther(t), &ownCluster{}, &logged{}
	var down atomic.Bool
	down.Store(true)
	other.answer = func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load(), false
	}
	r := newReplicator(t, t.TempDir(), own, Options{MaxBytes: 20_000, Logger: slog.New(slog.NewTextHandler(log, nil))}, other.URL)
	start(t, r)
	tg := r.targets[0]
	n := 0
	for ; testutil.ToFloat64(tg.m.dropped) < 1000; n++ {
		put(t, r, batchOf(100, int64(n), rand.Float64()))
	}
	if own.stored.Load() != int64(100*n) {
		t.Errorf("%d samples are stored here of %d", own.stored.Load(), 100*n)
	}
	if !strings.Contains(log.String(), "is full") {
		t.Errorf("nobody says so: %s", log)
	}
	until(t, "there is a lag", func() bool { return tg.lag() > 0 })
	down.Store(false)
	until(t, "nothing waits", func() bool { return tg.queue.Pending(queueName) == 0 })
	kept := 100*n - int(testutil.ToFloat64(tg.m.dropped))
	if other.has() != kept {
		t.Errorf("%d samples arrived of %d", other.has(), kept)
	}
	put(t, r, batchOf(100, int64(n), 1))
	until(t, "the next arrives", func() bool { return other.has() == kept+100 })
	until(t, "there is no lag", func() bool { return tg.lag() == 0 })
	if got := testutil.ToFloat64(tg.m.sent); got != float64(kept+100) {
		t.Errorf("%v samples are counted as sent", got)
	}
}

// A disk that fails refuses the write: it would be acknowledged and never be sent.
func TestDiskFails(t *testing.T) {
	other, sick := newOther(t), &sickDisk{FS: disk.OS}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{FS: sick}, other.URL)
	start(t, r)
	sick.fail.Store(true)
	if err := r.Append(context.Background(), batchOf(1, 1, 1)); !errors.Is(err, series.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	sick.fail.Store(false)
	put(t, r, batchOf(1, 2, 1))
	until(t, "it arrives", func() bool { return other.has() >= 1 })
}

type sickDisk struct {
	disk.FS
	fail atomic.Bool
}

func (d *sickDisk) Create(path string) (disk.File, error) {
	if d.fail.Load() {
		return nil, errors.New("no space left on device")
	}
	return d.FS.Create(path)
}

// Histograms, exemplars and metadata go along.
func TestEverythingElse(t *testing.T) {
	other := newOther(t)
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, other.URL)
	start(t, r)
	b := batchOf(2, 1, 1)
	b.Exemplars = []series.Exemplar{{Series: 1}}
	b.Metadata = []series.Metadata{{Family: "m", Type: "gauge", Help: "Help."}}
	put(t, r, b)
	put(t, r, &series.Batch{Metadata: b.Metadata})
	until(t, "all arrives", func() bool {
		other.mu.Lock()
		defer other.mu.Unlock()
		return other.other == 3
	})
}

// One request takes part of a second with much; samples of one series come one after the other.
func TestManySeries(t *testing.T) {
	other := newOther(t)
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, other.URL)
	for i := range 5 {
		put(t, r, batchOf(20_000, int64(i), float64(i)))
	}
	start(t, r)
	until(t, "all arrives", func() bool { return other.has() == 100_000 })
	if other.late > 0 {
		t.Errorf("%d samples came late", other.late)
	}
	if n := other.requests.Load(); n < lanes || n > 5*lanes {
		t.Errorf("%d requests", n)
	}
}
