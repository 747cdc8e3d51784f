package head

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// oddValue draws values of every kind that an encoder could stumble over.
func oddValue(r *rand.Rand, last float64) float64 {
	switch r.IntN(8) {
	case 0:
		return last
	case 1:
		return math.Float64frombits(r.Uint64())
	case 2:
		return math.Float64frombits(value.StaleNaN)
	case 3:
		return math.Copysign(0, -1)
	case 4:
		return math.Inf(r.IntN(2) - 1)
	}
	return math.Round(last*10+r.Float64()*10-5) / 10
}

// The open chunk has the bytes that Prometheus's own appender makes, for any times and values.
func TestChunkBytesAreChunkencs(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := NewMemtable(NewRegistry(RegistryOptions{}))
		want := chunkenc.NewXORChunk()
		app, err := want.Appender()
		if err != nil {
			t.Fatal(err)
		}
		e := m.makePage(1).entry(1)
		at, v := r.Int64N(1<<41), 20.0
		for range 1 + r.IntN(chunk.MaxSamples) {
			at += 1 + r.Int64N(1<<r.IntN(30))
			v = oddValue(r, v)
			m.append(e, at, v)
			app.Append(0, at, v)
		}
		got := m.bytes(nil, e.count, e.words, e.head, e.acc, e.nacc)
		if !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("seed %d: %d bytes differ from chunkenc's %d", seed, len(got), len(want.Bytes()))
		}
		m.Release()
	}
}

// What was appended, in whatever order and however often, is what is read: the model is a map.
func TestMemtableEqualsAModel(t *testing.T) {
	const n = 40
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := NewMemtable(registryOf(t, n))
		model := make([]map[int64]float64, n+1)
		var b series.Batch
		var refs []Ref
		for ref := Ref(1); ref <= n; ref++ {
			model[ref] = map[int64]float64{}
		}
		at := r.Int64N(3 * chunk.Span)
		for range 30 {
			b.Reset()
			refs = refs[:0]
			for range r.IntN(100) {
				ref := Ref(1 + r.IntN(n))
				first := len(b.Samples)
				for range 1 + r.IntN(5) {
					at += r.Int64N(30_000)
					ts := at
					if r.IntN(5) == 0 {
						ts -= r.Int64N(chunk.Span)
					}
					v := oddValue(r, 20)
					b.Samples = append(b.Samples, series.Sample{T: ts, V: v})
					if old, ok := model[ref][ts]; ok {
						v = chunk.Prefer(old, v)
					}
					model[ref][ts] = v
				}
				b.Series = append(b.Series, series.Entry{First: first, Count: len(b.Samples) - first})
				refs = append(refs, ref)
			}
			m.Append(&b, refs)
		}
		for ref := Ref(1); ref <= n; ref++ {
			mint := r.Int64N(at)
			maxt := mint + r.Int64N(at-mint+1)
			compare(t, m, ref, model[ref], math.MinInt64, math.MaxInt64)
			compare(t, m, ref, model[ref], mint, maxt)
		}
		m.Release()
	}
}

// compare checks that the chunks of a series have what the model has in [mint, maxt], and may have more outside.
func compare(t *testing.T, m *Memtable, ref Ref, model map[int64]float64, mint, maxt int64) {
	t.Helper()
	chunks, err := m.Chunks(nil, ref, mint, maxt)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if chunk.Window(c.MinTime) != chunk.Window(c.MaxTime) || c.Samples > chunk.MaxSamples {
			t.Fatalf("a chunk from %d to %d with %d samples", c.MinTime, c.MaxTime, c.Samples)
		}
		stats, err := c.Measure()
		if err != nil || fmt.Sprint(stats) != fmt.Sprint(c.Stats) {
			t.Fatalf("statistics %v, %v; the chunk has %v", stats, err, c.Stats)
		}
	}
	merged, err := chunk.Rewrite(nil, chunks)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int64]float64{}
	last := int64(math.MinInt64)
	for _, c := range merged {
		d, _ := c.Decode()
		it := d.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			ts, v := it.At()
			if ts <= last {
				t.Fatalf("time %d after %d", ts, last)
			}
			last = ts
			if mint <= ts && ts <= maxt {
				got[ts] = v
			}
		}
	}
	n := 0
	for ts, v := range model {
		if ts < mint || ts > maxt {
			continue
		}
		n++
		if g, ok := got[ts]; !ok || math.Float64bits(g) != math.Float64bits(v) {
			t.Fatalf("at %d: %v (%v), want %v", ts, g, ok, v)
		}
	}
	if n != len(got) {
		t.Fatalf("%d samples, want %d", len(got), n)
	}
}

func TestHistogramsComeBack(t *testing.T) {
	m := NewMemtable(registryOf(t, 5))
	want := map[int64]string{}
	for i, h := range tsdbutil.GenerateTestHistograms(700) {
		ts := int64(i) * 15_000
		if i%7 == 3 {
			ts -= 300_000 // late
		}
		x := series.Histogram{T: ts, Int: h}
		if i >= 400 {
			x.Int, x.Float = nil, h.ToFloat(nil)
		}
		want[ts] = h.ToFloat(nil).String()
		if err := m.AppendHistogram(5, x); err != nil {
			t.Fatal(err)
		}
	}
	m.AppendSample(5, 1, 1) // a series may have floats as well
	chunks, err := m.Chunks(nil, 5, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if chunks, err = chunk.Rewrite(nil, chunks); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range chunks {
		d, err := c.Decode()
		if err != nil {
			t.Fatal(err)
		}
		it := d.Iterator(nil)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			if vt == chunkenc.ValFloat {
				continue
			}
			ts, h := it.AtFloatHistogram(nil)
			h.CounterResetHint = histogram.UnknownCounterReset
			if h.String() != want[ts] {
				t.Fatalf("at %d: %v, want %v", ts, h, want[ts])
			}
			n++
		}
	}
	if n != len(want) {
		t.Fatalf("%d histograms, want %d", n, len(want))
	}
}

func register(t testing.TB, r *Registry, sets ...labels.Labels) []Ref {
	t.Helper()
	keys, ids, refs := make([][]byte, len(sets)), make([]series.ID, len(sets)), make([]Ref, len(sets))
	for i, ls := range sets {
		keys[i] = series.AppendKey(nil, ls)
		ids[i] = series.HashKey(keys[i])
	}
	if err := r.Register(keys, ids, refs, 0); err != nil {
		t.Fatal(err)
	}
	return refs
}

// registryOf returns a registry of n series, whose refs are 1 to n.
func registryOf(t testing.TB, n int) *Registry {
	t.Helper()
	r := NewRegistry(RegistryOptions{})
	for i := range n {
		register(t, r, labels.FromStrings("__name__", fmt.Sprint("m", i)))
	}
	return r
}

func randomLabels(r *rand.Rand) labels.Labels {
	b := labels.NewScratchBuilder(5)
	b.Add("__name__", fmt.Sprint("m", r.IntN(4)))
	for _, n := range []string{"device_id", "room", "site"} {
		if r.IntN(4) > 0 {
			b.Add(n, fmt.Sprint(n[:1], r.IntN(30)))
		}
	}
	return b.Labels()
}

// Matchers select what PromQL says they do: the model tries each series.
func TestSelectEqualsAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	reg := NewRegistry(RegistryOptions{})
	sets := map[Ref]labels.Labels{}
	for range 3000 {
		ls := randomLabels(r)
		sets[register(t, reg, ls)[0]] = ls
	}
	if reg.Count() != len(sets) {
		t.Fatalf("%d series, want %d", reg.Count(), len(sets))
	}
	values := []string{"", "m1", "d2", "d7", "s3", "none", "d.", "d1.*", ".*", ".+", "d1|d2|d29", "|d3", "[^d].*", "s1.?|x"}
	for range 3000 {
		var ms []*labels.Matcher
		for range 1 + r.IntN(3) {
			name := []string{"__name__", "device_id", "room", "site", "nolabel"}[r.IntN(5)]
			ms = append(ms, labels.MustNewMatcher(labels.MatchType(r.IntN(4)), name, values[r.IntN(len(values))]))
		}
		var want []Ref
		for ref, ls := range sets {
			ok := true
			for _, m := range ms {
				ok = ok && m.Matches(ls.Get(m.Name))
			}
			if ok {
				want = append(want, ref)
			}
		}
		slices.Sort(want)
		if got := reg.Select(ms...); !slices.Equal(got, want) {
			t.Fatalf("%v: %d series, want %d", ms, len(got), len(want))
		}
		parts := &shard.Set{}
		for range 1 << r.IntN(13) {
			parts.Add(uint16(r.IntN(shard.Partitions)))
		}
		want = slices.DeleteFunc(want, func(ref Ref) bool { return !parts.Has(reg.Partition(ref)) })
		if got := reg.SelectWithin(parts, ms...); !slices.Equal(got, want) {
			t.Fatalf("%v in %d partitions: %d series, want %d", ms, parts.Len(), len(got), len(want))
		}
	}
	sorted := reg.Sorted(func() {})
	var b labels.ScratchBuilder
	for i, ref := range sorted {
		if ls := reg.Labels(ref, &b); !labels.Equal(ls, sets[ref]) {
			t.Fatalf("labels %v, want %v", ls, sets[ref])
		}
		if i > 0 && labels.Compare(sets[sorted[i-1]], sets[ref]) >= 0 {
			t.Fatalf("%v comes before %v", sets[sorted[i-1]], sets[ref])
		}
	}
	if got := reg.LabelValues("device_id", labels.MustNewMatcher(labels.MatchEqual, "site", "s3")); len(got) == 0 || !slices.IsSorted(got) {
		t.Fatalf("values %q", got)
	}
	if got := reg.LabelNames(); !slices.Equal(got, []string{"__name__", "device_id", "room", "site"}) {
		t.Fatalf("names %q", got)
	}
}

// Series that began together do not close their chunks together.
func TestChunksEndAtDifferentSamples(t *testing.T) {
	reg := NewRegistry(RegistryOptions{})
	m := NewMemtable(reg)
	defer m.Release()
	var refs []Ref
	for i := range 320 {
		refs = append(refs, register(t, reg, labels.FromStrings("__name__", fmt.Sprint("m", i)))...)
	}
	for step := range int64(3*chunk.MaxSamples + 1) {
		before := m.Closed()
		for _, ref := range refs {
			m.AppendSample(ref, step*1000, float64(step))
		}
		if n := m.Closed() - before; n > int64(len(refs)/32)+1 {
			t.Fatalf("%d of %d chunks end at sample %d", n, len(refs), step)
		}
	}
	if n := m.Closed(); n < 3*int64(len(refs)) {
		t.Fatalf("%d chunks have ended", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	reg := NewRegistry(RegistryOptions{})
	m := NewMemtable(reg)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 9))
			for i := range 300 {
				ref := register(t, reg, randomLabels(r))[0]
				m.AppendSample(ref, int64(i)*1000, 1)
				if _, err := m.Chunks(nil, ref, 0, math.MaxInt64); err != nil {
					t.Error(err)
				}
				reg.Select(labels.MustNewMatcher(labels.MatchEqual, "__name__", "m1"))
				reg.Sorted(func() {})
			}
		})
	}
	wg.Wait()
	if m.Samples() != 1200 {
		t.Fatalf("%d samples", m.Samples())
	}
}

func BenchmarkAppend(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkAppend(b, false) })
	b.Run("sums", func(b *testing.B) { benchmarkAppend(b, true) })
}

func benchmarkAppend(b *testing.B, sums bool) {
	const n = 100_000
	reg := NewRegistry(RegistryOptions{Sums: sums})
	m := NewMemtable(reg)
	var refs []Ref
	var batch series.Batch
	ids := make([]series.ID, n)
	for i := range n {
		ls := labels.FromStrings("__name__", "temperature", "building", fmt.Sprint("b", i%100), "device_id", fmt.Sprint("d", i), "room", fmt.Sprint("r", i%1000), "site", fmt.Sprint("s", i%10), "unit", "celsius")
		refs = append(refs, register(b, reg, ls)...)
		ids[i] = reg.ID(refs[i])
		batch.Series = append(batch.Series, series.Entry{First: i, Count: 1})
		batch.Samples = append(batch.Samples, series.Sample{T: 0, V: 20})
	}
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += n {
		for j := range batch.Samples {
			batch.Samples[j].T += 10_000
			batch.Samples[j].V = math.Round(batch.Samples[j].V*10+r.Float64()*4-2) / 10
		}
		reg.Lookup(ids, refs)
		m.Append(&batch, refs)
		if m.Bytes() > 256<<20 {
			m.Release()
			m = NewMemtable(reg)
		}
	}
}

// What histograms take counts, those that come late and those of many spans, too: a memtable that seems small is not flushed.
func TestHistogramsCount(t *testing.T) {
	const n, size = 100, 5000
	for name, of := range map[string]func(h *histogram.Histogram){
		"buckets": func(h *histogram.Histogram) {
			h.PositiveSpans, h.PositiveBuckets = []histogram.Span{{Length: size}}, make([]int64, size)
		},
		"spans": func(h *histogram.Histogram) { h.PositiveSpans = make([]histogram.Span, size) },
	} {
		r := NewRegistry(RegistryOptions{})
		m := NewMemtable(r)
		ref := register(t, r, labels.FromStrings("__name__", "m"))[0]
		for i := range int64(n) {
			h := &histogram.Histogram{}
			of(h)
			if err := m.AppendHistogram(ref, series.Histogram{T: n - i, Int: h}); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Bytes(); got < 8*size*(n-1) {
			t.Errorf("%s: %d bytes, want those of %d", name, got, 8*size*(n-1))
		}
		m.Release()
		r.Release()
	}
}

// Very many histograms that come late are few chunks: who reads them merges all that overlap.
func TestLateHistogramsAreFewChunks(t *testing.T) {
	r := NewRegistry(RegistryOptions{})
	defer r.Release()
	m := NewMemtable(r)
	defer m.Release()
	ref := register(t, r, labels.FromStrings("__name__", "m"))[0]
	const n = 5000
	want := map[int64]float64{}
	add := func(at int64, sum float64) {
		h := &histogram.Histogram{Count: 1, ZeroCount: 1, Sum: sum}
		want[at] = max(want[at], sum)
		if err := m.AppendHistogram(ref, series.Histogram{T: at, Int: h}); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 1)
	add(n+1, 1)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		add(int64(i)+1, float64(i%7))
		if i%100 == 0 {
			add(int64(i)+1, float64(i%5))
		}
	}
	chunks, err := m.Chunks(nil, ref, 10, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(chunks) > n/100 {
		t.Errorf("%d chunks of %d histograms", len(chunks), n)
	}
	if chunks, err = chunk.Rewrite(nil, chunks); err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, c := range chunks {
		it, err := c.Iterator(nil)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() != chunkenc.ValNone {
			at, h := it.AtFloatHistogram(nil)
			if at < 10 || at > n {
				continue
			}
			if got++; h.Sum != want[at] {
				t.Fatalf("at %d the sum is %v, want %v", at, h.Sum, want[at])
			}
		}
	}
	if got != n-9 {
		t.Errorf("%d histograms, want %d", got, n-9)
	}
}
