package head

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// What lies elsewhere is found, in whatever order it was said.
func TestFresh(t *testing.T) {
	const lo, hi = math.MinInt64, math.MaxInt64
	rows := []struct {
		past         []chunk.Interval
		fresh, stale []int64
	}{
		{nil, []int64{lo, 0, hi}, nil},
		{[]chunk.Interval{{Min: 10, Max: 20}}, []int64{lo, 9, 21, hi}, []int64{10, 15, 20}},
		{[]chunk.Interval{{Min: 30, Max: 40}, {Min: 10, Max: 20}}, []int64{9, 21, 29, 41}, []int64{10, 20, 30, 40}},
		{[]chunk.Interval{{Min: 10, Max: 40}, {Min: 12, Max: 20}, {Min: 41, Max: 50}}, []int64{9, 51}, []int64{10, 21, 40, 41, 50}},
		{[]chunk.Interval{{Min: lo, Max: 0}, {Min: 10, Max: hi}}, []int64{1, 9}, []int64{lo, 0, 10, hi}},
		{[]chunk.Interval{{Min: lo, Max: hi}, {Min: 10, Max: 20}}, nil, []int64{lo, 9, 15, 30, hi}},
	}
	for _, r := range rows {
		reg := NewRegistry(RegistryOptions{Past: []chunk.Interval{{Min: 5, Max: 25}}})
		reg.fresh(30)
		reg.Sum(r.past)
		for range 2 { // the gap that was last found is tried first
			for _, at := range r.fresh {
				if !reg.fresh(at) {
					t.Errorf("%v: %d is not fresh", r.past, at)
				}
			}
			for _, at := range r.stale {
				if reg.fresh(at) {
					t.Errorf("%v: %d is fresh", r.past, at)
				}
			}
		}
		reg.Release()
	}
}

// notes is a ledger that keeps everything.
type notes struct {
	settled map[int64]series.Digest
	doubted map[int64]int
}

func (n *notes) Settled(_ uint16, w int64, sum series.Digest) { n.settled[w] = n.settled[w].Plus(sum) }
func (n *notes) Doubted(_ uint16, w int64)                    { n.doubted[w]++ }

// A sample is in the sum of its series and window, or in what was settled, or it was doubted; never in two, and what was
// the same as the one before it in none.
func TestSumsAndDoubts(t *testing.T) {
	const n, p = 3, chunk.Span
	led := &notes{settled: map[int64]series.Digest{}, doubted: map[int64]int{}}
	reg := NewRegistry(RegistryOptions{Past: []chunk.Interval{{Min: 10 * p, Max: 10*p + 99}}, Ledger: led, Sums: true})
	refsOf(t, reg, n)
	m := NewMemtable(reg)
	id := reg.ID(2)
	sums := func() (d series.Digest, window int64) {
		for ref := Ref(1); ref != 0; {
			ref = m.Sums(ref, func(_ uint16, w int64, sum series.Digest) { d, window = d.Plus(sum), w })
		}
		return d, window
	}
	var want series.Digest
	rows := []struct {
		name    string
		t       int64
		v       float64
		added   bool
		settles int64 // a window; -1: none
		doubts  int64 // a window; -1: none
	}{
		{"the first", 100, 1, true, -1, -1},
		{"the same", 100, 1, false, -1, -1},
		{"another value", 100, 2, false, -1, 0},
		{"later", 200, 2, true, -1, -1},
		{"late", 150, 2, false, -1, 0},
		{"the next window", p + 5, 3, true, 0, -1},
		{"late by a window", 300, 3, false, -1, 0},
		{"elsewhere perhaps", 10*p + 50, 4, false, 1, 10},
		{"certainly not elsewhere", 10*p + 100, 4, true, -1, -1},
	}
	for _, r := range rows {
		was := *led
		led.settled, led.doubted = map[int64]series.Digest{}, map[int64]int{}
		m.AppendSample(2, r.t, r.v)
		if r.settles >= 0 && led.settled[r.settles] != want || r.settles < 0 && len(led.settled) > 0 {
			t.Errorf("%s: settled %v, want %v of window %d", r.name, led.settled, want, r.settles)
		}
		if r.settles >= 0 {
			want = series.Digest{}
		}
		if r.doubts >= 0 && led.doubted[r.doubts] != 1 || r.doubts < 0 && len(led.doubted) > 0 {
			t.Errorf("%s: doubted %v, want window %d", r.name, led.doubted, r.doubts)
		}
		if r.added {
			want = want.Plus(series.SampleDigest(id, r.t, r.v))
		}
		got, w := sums()
		if got != want || !want.IsZero() && w != chunk.Window(r.t) && r.added {
			t.Errorf("%s: sum %v of window %d, want %v", r.name, got, w, want)
		}
		*led = was
	}
	// The next memtable goes on where this one was.
	m = NewMemtable(reg)
	m.AppendSample(2, 10*p+100, 5)
	if got, _ := sums(); got != want || led.doubted[10] != 1 {
		t.Errorf("a second value in the next memtable: sum %v, want %v; doubted %v", got, want, led.doubted)
	}
	h := tsdbutil.GenerateTestHistogram(1)
	if err := m.AppendHistogram(2, series.Histogram{T: 10*p + 200, Int: h}); err != nil {
		t.Fatal(err)
	}
	var d chunk.Digester
	want = want.Plus(d.Histogram(id, series.Histogram{T: 10*p + 200, Int: h}))
	if got, _ := sums(); got != want {
		t.Errorf("with a histogram: sum %v, want %v", got, want)
	}
	m.AppendSample(2, 10*p+200, 5)
	if got, _ := sums(); got != want || led.doubted[10] != 2 {
		t.Errorf("a number at the time of a histogram: sum %v, want %v; doubted %v", got, want, led.doubted)
	}
	chunks, sum, err := m.ScanSum(nil, new([]byte), 2, 10)
	if err != nil || sum != want || len(chunks) == 0 {
		t.Errorf("%d chunks, sum %v, %v; want %v", len(chunks), sum, err, want)
	}
	if _, sum, err = m.ScanSum(nil, new([]byte), 2, 9); err != nil || !sum.IsZero() {
		t.Errorf("sum %v of a window without samples, %v", sum, err)
	}
}

func refsOf(t *testing.T, r *Registry, n int) (refs []Ref) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	seen := map[Ref]bool{}
	for len(refs) < n {
		if ref := register(t, r, randomLabels(rng))[0]; !seen[ref] {
			seen[ref] = true
			refs = append(refs, ref)
		}
	}
	return refs
}

// A series is found by its partition, which is that of its labels.
func TestWithin(t *testing.T) {
	reg := NewRegistry(RegistryOptions{DeviceLabel: "device_id"})
	defer reg.Release()
	refs := refsOf(t, reg, 500)
	rng := rand.New(rand.NewPCG(1, 1))
	set := &shard.Set{}
	for p := range uint16(shard.Partitions) {
		if rng.IntN(2) == 0 {
			set.Add(p)
		}
	}
	var want []Ref
	var key []byte
	for _, ref := range refs {
		key = reg.AppendKey(key[:0], ref)
		p := shard.PartitionOfKey(key, "device_id")
		if reg.Partition(ref) != p {
			t.Fatalf("partition %d, want %d", reg.Partition(ref), p)
		}
		if set.Has(p) {
			want = append(want, ref)
		}
	}
	got := reg.Within(set)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%d series, want %d", len(got), len(want))
	}
}

// A memtable knows in which windows it has samples of which partitions.
func TestWindows(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 8))
		reg := NewRegistry(RegistryOptions{})
		refs := refsOf(t, reg, 30)
		m := NewMemtable(reg)
		want := map[int64]*shard.Set{}
		for range 300 {
			ref, at := refs[rng.IntN(len(refs))], rng.Int64N(20*chunk.Span)-10*chunk.Span
			w := chunk.Window(at)
			if want[w] == nil {
				want[w] = &shard.Set{}
			}
			want[w].Add(reg.Partition(ref))
			if rng.IntN(5) > 0 {
				m.AppendSample(ref, at, 1)
			} else if err := m.AppendHistogram(ref, series.Histogram{T: at, Int: tsdbutil.GenerateTestHistogram(1)}); err != nil {
				t.Fatal(err)
			}
		}
		windows := m.Windows()
		if len(windows) != len(want) || !slices.IsSorted(windows) {
			t.Fatalf("windows %v, want %d", windows, len(want))
		}
		for w, set := range want {
			got := &shard.Set{}
			if m.Partitions(w, got); *got != *set {
				t.Fatalf("window %d: %d partitions, want %d", w, got.Len(), set.Len())
			}
		}
		m.Release()
		reg.Release()
	}
}

// Appending samples in time order allocates nothing, sums or not.
func TestAppendAllocatesNothing(t *testing.T) {
	for _, sums := range []bool{false, true} {
		reg := NewRegistry(RegistryOptions{Sums: sums})
		refs := refsOf(t, reg, 100)
		m := NewMemtable(reg)
		var b series.Batch
		for i := range refs {
			b.Series = append(b.Series, series.Entry{First: i, Count: 1})
			b.Samples = append(b.Samples, series.Sample{})
		}
		n := testing.AllocsPerRun(200, func() {
			for i := range b.Samples {
				b.Samples[i].T += 1000
			}
			m.Append(&b, refs)
		})
		if n > 0 {
			t.Errorf("sums %v: %v allocations", sums, n)
		}
	}
}
