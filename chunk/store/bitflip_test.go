package store

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

const (
	flipSeries  = 6
	flipSamples = 300 // of a series in a block
	flipBlocks  = 2
	flipLast    = flipBlocks * chunk.Span // where the samples begin that are in the log only
)

// flipWorld is a closed data folder with something in every file, of which each run damages a copy, and what was written.
type flipWorld struct {
	dir   string
	model model // by the text of the labels
}

// sampleOf is a value that says which sample it is of, and now and then has all bits.
func sampleOf(name, seq int) float64 {
	if seq%7 == 0 {
		return float64(name*1_000_000+seq) / 3
	}
	return float64(name*1_000_000 + seq)
}

func flipLabels(i int) labels.Labels {
	return labels.FromStrings("__name__", fmt.Sprint("m", i%2), "device_id", fmt.Sprint("d", i), "site", fmt.Sprint("s", i%3))
}

func newFlipWorld(t *testing.T) *flipWorld {
	w := &flipWorld{dir: t.TempDir(), model: model{}}
	s := open(t, w.dir, flipOptions(&atomic.Int64{}, &journal{}))
	for part := range flipBlocks + 1 {
		for from := 0; from < flipSamples; from += flipSamples / 10 {
			w.write(t, s, int64(part)*chunk.Span, from, from+flipSamples/10)
		}
		if part == 0 {
			d := labels.MustNewMatcher(labels.MatchEqual, "device_id", "d1")
			if _, err := s.Delete(t.Context(), 0, 50_000, d); err != nil {
				t.Fatal(err)
			}
			for at := int64(0); at <= 50_000; at += 1000 {
				delete(w.model[flipLabels(1).String()], at)
			}
		}
		if part < flipBlocks {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// write appends some samples of every series.
func (w *flipWorld) write(t *testing.T, s *Store, start int64, from, to int) {
	t.Helper()
	for i := range flipSeries {
		b := series.Batch{Series: []series.Entry{{Key: series.AppendKey(nil, flipLabels(i)), Count: to - from}}}
		name := flipLabels(i).String()
		for seq := from; seq < to; seq++ {
			at, v := start+int64(seq)*1000, sampleOf(i, int(start/chunk.Span)*flipSamples+seq)
			b.Samples = append(b.Samples, series.Sample{T: at, V: v})
			w.model.add(name, at, v)
		}
		if err := s.Append(t.Context(), &b); err != nil || b.Rejected.Any() {
			t.Fatalf("append: %v, %+v", err, b.Rejected)
		}
	}
}

func flipOptions(now *atomic.Int64, log *journal) Options {
	return Options{
		CacheBytes: 1, WAL: wal.Options{SegmentSize: 1 << 13}, Compact: compact.Options{Force: true}, CompactDuty: 1,
		Now:    func() time.Time { return time.UnixMilli(now.Load()) },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// flipRun is one damaged copy.
type flipRun struct {
	*flipWorld
	t    *testing.T
	dir  string
	file string // below dir, that is damaged
	now  atomic.Int64
	log  journal
	s    *Store
}

// TestFlippedBits flips bits spread over every file that a store keeps, before it is opened and while it is open: no answer is
// wrong, what is missing is reported and was in the damaged file, and everything else goes on. For more bits:
//
//	MINITRUE_SEEDS=100 go test -timeout 0 -run FlippedBits ./chunk/store
func TestFlippedBits(t *testing.T) {
	w := newFlipWorld(t)
	seeds, _ := strconv.Atoi(os.Getenv("MINITRUE_SEEDS"))
	bits := 12
	if testing.Short() {
		bits = 4
	}
	for _, kind := range []struct {
		glob string
		run  func(r *flipRun, opened bool, bit float64)
	}{
		{"blocks/*/chunks.parquet", (*flipRun).block}, {"blocks/*/series.parquet", (*flipRun).block},
		{"blocks/*/index", (*flipRun).block}, {"blocks/*/meta.json", (*flipRun).block},
		{"wal/*.wal", (*flipRun).segment}, {TombstonesFile, (*flipRun).tombstones},
	} {
		for _, opened := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/open=%v", filepath.Base(kind.glob), opened), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(max(1, seeds)) {
					rng := rand.New(rand.NewPCG(seed, uint64(len(kind.glob))))
					files, err := filepath.Glob(filepath.Join(w.dir, kind.glob))
					if err != nil || len(files) == 0 {
						t.Fatalf("there is no %s: %v", kind.glob, err)
					}
					for i := range bits {
						file, err := filepath.Rel(w.dir, files[(i+int(seed))%len(files)])
						if err != nil {
							t.Fatal(err)
						}
						at := (float64(i) + rng.Float64()) / float64(bits)
						name := fmt.Sprintf("seed %d, %s at %.6f", seed, file, at)
						r := &flipRun{flipWorld: w, t: t, dir: t.TempDir(), file: file}
						if err := os.CopyFS(r.dir, os.DirFS(w.dir)); err != nil {
							t.Fatal(err)
						}
						kind.run(r, opened, at)
						if t.Failed() {
							t.Fatalf("%s; the log:\n%s", name, &r.log.buf)
						}
						if err := os.RemoveAll(r.dir); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func (r *flipRun) path() string { return filepath.Join(r.dir, r.file) }

// flip flips the bit at a part of the file.
func (r *flipRun) flip(at float64) {
	r.t.Helper()
	fi, err := os.Stat(r.path())
	if err != nil {
		r.t.Fatal(err)
	}
	flip(r.t, r.path(), int64(at*float64(8*fi.Size())))
	r.now.Add(2000)
}

func (r *flipRun) open() error {
	s, err := Open(r.dir, flipOptions(&r.now, &r.log))
	r.s = s
	return err
}

func (r *flipRun) close() {
	r.t.Helper()
	if err := r.s.Close(); err != nil {
		r.t.Error(err)
	}
}

// seen reads everything in every way, and returns which samples there are by series. Any that was not written is an error of the test.
func (r *flipRun) seen() (map[string]map[int64]bool, error) {
	r.t.Helper()
	ctx := r.t.Context()
	q, err := r.s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	got := map[string]map[int64]bool{}
	set := q.Select(ctx, true, nil, every)
	for set.Next() {
		name := set.At().Labels().String()
		if r.model[name] == nil || got[name] != nil {
			r.t.Errorf("series %s", name)
		}
		got[name] = map[int64]bool{}
		st, it := chunk.NoStats(), set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, v := it.At()
			if want, ok := r.model[name][at]; !ok || want != v || got[name][at] {
				r.t.Errorf("%s has %v at %d, want %v (%v)", name, v, at, want, ok)
			}
			got[name][at] = true
			st.Observe(at, v)
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
		if err := r.aggregate(ctx, set.At().Labels(), st); err != nil {
			return nil, err
		}
	}
	if set.Err() != nil {
		return nil, set.Err()
	}
	return got, r.labels(ctx)
}

// aggregate compares what is added up from statistics with what was read.
func (r *flipRun) aggregate(ctx context.Context, ls labels.Labels, want chunk.Stats) error {
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) { ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
	got, err := r.s.Aggregate(ctx, math.MinInt64, math.MaxInt64, ms...)
	if err == nil && (got.Samples != want.Samples || got.Min != want.Min || got.Max != want.Max || math.Abs(got.Total()-want.Total()) > 1e-9*math.Abs(want.Total())) {
		r.t.Errorf("%s adds up to %+v, want %+v", ls, got, want)
	}
	return err
}

func (r *flipRun) labels(ctx context.Context) error {
	q, err := r.s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	defer q.Close()
	devices, _, err := q.LabelValues(ctx, "device_id", nil)
	if err == nil && strings.Join(devices, " ") != "d0 d1 d2 d3 d4 d5" {
		r.t.Errorf("devices %v", devices)
	}
	return err
}
