package store

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// digests compares the digests of the store with those of its model.
func (w *world) digests() {
	w.t.Helper()
	ctx, only := w.t.Context(), shard.All()
	if w.r.IntN(3) == 0 {
		only = w.someParts()
		ctx = shard.Within(ctx, only)
	}
	first, last := int64(math.MinInt64), int64(math.MaxInt64)
	if w.r.IntN(3) == 0 {
		first = w.clock - w.r.Int64N(10*24*3600_000)
		last = first + w.r.Int64N(24*3600_000)
	}
	leaves, bySeries := map[leafKey]series.Digest{}, map[leafKey]map[series.ID]series.Digest{}
	for key, samples := range w.model {
		k := leafKey{partition: shard.PartitionOfKey([]byte(key), "device_id")}
		id := series.HashKey([]byte(key))
		for t, v := range samples {
			if k.window = shard.Window(t); !only.Has(k.partition) || chunk.Window(t) < chunk.Window(first) || chunk.Window(t) > chunk.Window(last) {
				continue
			}
			d := series.SampleDigest(id, t, v)
			leaves[k] = leaves[k].Plus(d)
			if bySeries[k] == nil {
				bySeries[k] = map[series.ID]series.Digest{}
			}
			bySeries[k][id] = bySeries[k][id].Plus(d)
		}
	}
	got, err := w.s.Digests(ctx, first, last)
	if err != nil {
		w.t.Fatal(err)
	}
	compareLeaves(w.t, leaves, got)
	if len(got) > 0 {
		window := got[w.r.IntN(len(got))].Window
		list, err := w.s.SeriesDigests(ctx, window)
		if err != nil {
			w.t.Fatal(err)
		}
		want := map[series.ID]series.Digest{}
		for k, m := range bySeries {
			for id, d := range m {
				if k.window == window {
					want[id] = d
				}
			}
		}
		compareSeries(w.t, want, list)
	}
}

type leafKey struct {
	partition uint16
	window    int64
}

// compareLeaves also checks that leaves are sorted.
func compareLeaves(t *testing.T, want map[leafKey]series.Digest, got []shard.Leaf) {
	t.Helper()
	for i, l := range got {
		if i > 0 && got[i-1].Compare(l) >= 0 {
			t.Fatalf("leaf %v comes after %v", l, got[i-1])
		}
		if want[leafKey{l.Partition, l.Window}] != l.Digest {
			t.Fatalf("partition %d, window %d: digest %v, want %v", l.Partition, l.Window, l.Digest, want[leafKey{l.Partition, l.Window}])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d leaves, want %d", len(got), len(want))
	}
}

func compareSeries(t *testing.T, want map[series.ID]series.Digest, got []series.SeriesDigest) {
	t.Helper()
	for i, d := range got {
		if i > 0 && got[i-1].ID.Compare(d.ID) >= 0 {
			t.Fatalf("series %v comes after %v", d.ID, got[i-1].ID)
		}
		if want[d.ID] != d.Digest {
			t.Fatalf("series %v: digest %v, want %v", d.ID, d.Digest, want[d.ID])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d series, want %d", len(got), len(want))
	}
}

// someParts is about half of the partitions.
func (w *world) someParts() *shard.Set {
	s := &shard.Set{}
	for p := range uint16(shard.Partitions) {
		if w.r.IntN(2) == 0 {
			s.Add(p)
		}
	}
	return s
}

// event is something that is done to both of two replicas.
type event struct {
	batch *series.Batch
	del   *deletion
}

// replica is a store to which events are done in an order, and cut into blocks in a way, of its own.
type replica struct {
	*world
	pending []*series.Batch
}

func (p *replica) do(e event) {
	if e.del == nil {
		p.pending = append(p.pending, e.batch)
		if p.r.IntN(3) == 0 {
			p.catchUp()
		}
	} else {
		p.catchUp() // a delete concerns what is there
		if _, err := p.s.Delete(p.t.Context(), e.del.mint, e.del.maxt, e.del.ms...); err != nil {
			p.t.Fatal(err)
		}
	}
	var err error
	switch p.r.IntN(12) {
	case 0:
		err = p.s.Flush(p.t.Context())
	case 1:
		err = p.s.CompactAll(p.t.Context())
	case 2:
		p.restart()
	case 3:
		p.crash()
	case 4:
		p.pass(3 * 3600_000)
		err = p.s.Compact(p.t.Context())
	case 5:
		if err = p.s.freeze(false); err == nil && p.r.IntN(2) == 0 {
			err = p.s.flushAll(p.t.Context())
		}
	}
	if err != nil {
		p.t.Fatal(err)
	}
	if p.r.IntN(2) == 0 {
		p.equalsARead()
	}
}

// catchUp appends what is pending, in any order, some of it twice.
func (p *replica) catchUp() {
	p.r.Shuffle(len(p.pending), func(i, j int) { p.pending[i], p.pending[j] = p.pending[j], p.pending[i] })
	for _, b := range p.pending {
		for range 1 + p.r.IntN(2) {
			if err := p.s.Append(p.t.Context(), b); err != nil || b.Rejected.Any() {
				p.t.Fatal(err, b.Rejected)
			}
		}
	}
	p.pending = p.pending[:0]
}

// equalsARead compares the digests with those of all samples that a query reads.
func (p *replica) equalsARead() []shard.Leaf {
	p.t.Helper()
	leaves := map[leafKey]series.Digest{}
	q, err := p.s.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		p.t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(p.t.Context(), false, nil, everything())
	for set.Next() {
		key := series.AppendKey(nil, set.At().Labels())
		id := series.HashKey(key)
		k := leafKey{partition: shard.PartitionOfKey(key, "device_id")}
		it := set.At().Iterator(nil)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			k.window = shard.Window(it.AtT())
			leaves[k] = leaves[k].Plus(digestAt(id, it, vt))
		}
		if it.Err() != nil {
			p.t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		p.t.Fatal(set.Err())
	}
	got, err := p.s.Digests(p.t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		p.t.Fatal(err)
	}
	compareLeaves(p.t, leaves, got)
	return got
}

func digestAt(id series.ID, it chunkenc.Iterator, vt chunkenc.ValueType) series.Digest {
	var d chunk.Digester
	switch vt {
	case chunkenc.ValFloat:
		t, v := it.At()
		return series.SampleDigest(id, t, v)
	case chunkenc.ValHistogram:
		t, h := it.AtHistogram(nil)
		return d.Histogram(id, series.Histogram{T: t, Int: h})
	}
	t, h := it.AtFloatHistogram(nil)
	return d.Histogram(id, series.Histogram{T: t, Float: h})
}

// withHistograms adds histograms to a batch, some at the times of numbers and of others.
func withHistograms(r *rand.Rand, b *series.Batch) *series.Batch {
	all := tsdbutil.GenerateTestHistograms(8)
	for i, e := range b.Series {
		if r.IntN(3) > 0 {
			continue
		}
		for _, x := range b.Samples[e.First : e.First+e.Count] {
			h := series.Histogram{Series: i, T: x.T + int64(r.IntN(2)), Int: all[r.IntN(len(all))].Copy()}
			switch r.IntN(8) {
			case 0:
				h.Int = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
			case 1:
				h.Int.PositiveBuckets = h.Int.PositiveBuckets[:2]
				h.Int.PositiveSpans = []histogram.Span{{Offset: int32(r.IntN(3)), Length: 2}}
				h.Int.Count = uint64(3*h.Int.PositiveBuckets[0]+h.Int.PositiveBuckets[1]) + h.Int.ZeroCount
				h.Int.NegativeBuckets, h.Int.NegativeSpans = nil, nil
				h.Int.CounterResetHint = histogram.CounterResetHint(r.IntN(4))
			case 2:
				h.Int, h.Float = nil, h.Int.ToFloat(nil)
			}
			b.Histograms = append(b.Histograms, h)
		}
	}
	return b
}

// Two replicas that got the same samples, in other orders, and whose blocks are cut differently, have equal digests, which
// are those of what they answer.
func TestReplicasHaveEqualDigests(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			a, b := &replica{world: newWorld(t, seed)}, &replica{world: newWorld(t, 1000+seed)}
			r := rand.New(rand.NewPCG(seed, 5))
			for range 40 {
				e := event{batch: withHistograms(r, a.batch())}
				if r.IntN(8) == 0 {
					x := a.deletion()
					e = event{del: &x}
				}
				b.clock = a.clock
				b.pass(0)
				a.do(e)
				b.do(e)
			}
			a.catchUp()
			b.catchUp()
			of := a.equalsARead()
			if !slices.Equal(of, b.equalsARead()) {
				t.Fatal("the replicas have other digests")
			}
			for _, l := range of {
				x, errA := a.s.SeriesDigests(t.Context(), l.Window)
				y, errB := b.s.SeriesDigests(t.Context(), l.Window)
				if errA != nil || errB != nil || len(x) == 0 || !slices.Equal(x, y) {
					t.Fatalf("window %d: series differ: %v, %v", l.Window, errA, errB)
				}
			}
		})
	}
}

// A sample that is missing or different is seen, wherever the others lie.
func TestDigestsTellOneSample(t *testing.T) {
	base := func() *series.Batch {
		b := &series.Batch{}
		for i := range 20 {
			b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", i))), First: 10 * i, Count: 10})
			for j := range int64(10) {
				b.Samples = append(b.Samples, series.Sample{T: epoch + j*1000, V: float64(j)})
			}
		}
		return b
	}
	leaves := func(b *series.Batch, flush bool) []shard.Leaf {
		s := open(t, t.TempDir(), Options{})
		defer s.Close()
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if flush {
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		all, err := s.Digests(t.Context(), math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := leaves(base(), false)
	if !slices.Equal(want, leaves(base(), true)) {
		t.Fatal("a flush changes digests")
	}
	for name, change := range map[string]func(*series.Batch){
		"missing":       func(b *series.Batch) { b.Series[7].Count-- },
		"another value": func(b *series.Batch) { b.Samples[77].V = math.Nextafter(b.Samples[77].V, 100) },
		"minus zero":    func(b *series.Batch) { b.Samples[70].V = math.Copysign(0, -1) },
		"another time":  func(b *series.Batch) { b.Samples[77].T++ },
		"swapped":       func(b *series.Batch) { b.Samples[77].V, b.Samples[78].V = b.Samples[78].V, b.Samples[77].V },
		"other series":  func(b *series.Batch) { b.Samples[77].V, b.Samples[87].V = 87, 77 },
	} {
		b := base()
		change(b)
		for _, flush := range []bool{false, true} {
			differ := 0
			for i, l := range leaves(b, flush) {
				if l != want[i] {
					differ++
				}
			}
			if differ == 0 || differ > 2 {
				t.Errorf("%s: %d digests differ", name, differ)
			}
		}
	}
}

// What becomes known while samples come, windows end and memtables are exchanged is right when they have come.
func TestDigestsWhileSamplesCome(t *testing.T) {
	w := newWorld(t, 3)
	p := &replica{world: w}
	const writers, rounds = 3, 60
	for round := range 4 {
		var wg, readers sync.WaitGroup
		done := make(chan struct{})
		for g := range writers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(g), uint64(round)))
				at := int64(epoch) + int64(round)*rounds*20*60_000
				for range rounds {
					var b series.Batch
					for i := range 40 {
						first := len(b.Samples)
						for j := range int64(3) {
							b.Samples = append(b.Samples, series.Sample{T: at + j*1000 + r.Int64N(500), V: r.Float64()})
						}
						if r.IntN(50) == 0 {
							b.Samples[first].T -= r.Int64N(4 * 3600_000)
						}
						key := series.AppendKey(nil, labels.FromStrings("__name__", fmt.Sprint("m", g), "device_id", fmt.Sprint(i)))
						b.Series = append(b.Series, series.Entry{Key: key, First: first, Count: 3})
					}
					if err := w.s.Append(t.Context(), &b); err != nil {
						t.Error(err)
					}
					at += 20 * 60_000
				}
			})
		}
		for _, f := range []func() error{
			func() error { _, err := w.s.Digests(t.Context(), math.MinInt64, math.MaxInt64); return err },
			func() error {
				_, err := w.s.Digests(shard.Within(t.Context(), &shard.Set{}), math.MinInt64, math.MaxInt64)
				return err
			},
			func() error { return w.s.Flush(t.Context()) },
			func() error { return w.s.CompactAll(t.Context()) },
		} {
			readers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						if err := f(); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		close(done)
		readers.Wait()
		p.equalsARead()
	}
}

// Samples in time order, numbers and histograms, are added as they come: what was counted once is not read again, whatever becomes
// of memtables and blocks.
func TestDigestsAreKeptUpToDate(t *testing.T) {
	const n = 30
	w := newWorld(t, 4)
	p := &replica{world: w}
	all := tsdbutil.GenerateTestHistograms(100)
	leaves := map[leafKey]bool{}
	for step := range 40 {
		w.pass(10 * 60_000)
		b := manyDevices(n, w.clock)
		for i := range b.Samples {
			b.Samples[i].T += int64(i) * 977 // some are in the next window already
			if i%3 == 0 {
				h := series.Histogram{Series: i, T: b.Samples[i].T + 1, Int: all[step].Copy()}
				if i%2 == 0 {
					h.Int, h.Float = nil, h.Int.ToFloat(nil)
				}
				b.Histograms = append(b.Histograms, h)
			}
		}
		if err := w.s.Append(t.Context(), b); err != nil || b.Rejected.Any() {
			t.Fatal(err, b.Rejected)
		}
		var err error
		switch w.r.IntN(6) {
		case 0:
			err = w.s.Flush(t.Context())
		case 1:
			err = w.s.freeze(false)
		case 2:
			err = w.s.CompactAll(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range p.equalsARead() {
			leaves[leafKey{l.Partition, l.Window}] = true
		}
		if got := testutil.ToFloat64(w.s.m.counted); got > float64(len(leaves)) {
			t.Fatalf("step %d: %d digests were counted %v times", step, len(leaves), got)
		}
	}
}

// A memtable that is exchanged while series are counted has not all that their sums have: what is counted is right, and not kept.
func TestCountIsStale(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	add := func(at int64) {
		t.Helper()
		if err := s.Append(t.Context(), one("m", series.Sample{T: at, V: 1})); err != nil {
			t.Fatal(err)
		}
	}
	s.startSums()
	add(1)
	for _, exchanged := range []bool{false, true} {
		c := counter{s: s, v: s.view(), window: 0, maxt: chunk.Span - 1, parts: shard.All()}
		if exchanged {
			if err := s.freeze(false); err != nil {
				t.Fatal(err)
			}
			add(2)
		}
		if err := c.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.v.close()
		p, id := s.active.registry.Partition(1), s.active.registry.ID(1)
		if want := series.SampleDigest(id, 1, 1); c.counted.of(p) != want || c.stale != exchanged || !exchanged && c.sums.of(p) != want {
			t.Errorf("exchanged %v: stale %v, digest %v, want %v", exchanged, c.stale, c.counted.of(p), want)
		}
	}
}
