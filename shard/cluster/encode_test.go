package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// randomBatch makes a batch of n series with canonical keys, whose numbers begin at from.
func randomBatch(r *rand.Rand, n, from int) *series.Batch {
	b := &series.Batch{}
	for i := range n {
		name := fmt.Sprintf("metric_%d", (from+i)%7)
		ls := labels.FromStrings("__name__", name, "device_id", fmt.Sprint("d", from+i), "note", strings.Repeat("x", 1+r.IntN(300)))
		if r.IntN(4) == 0 {
			ls = labels.FromStrings("__name__", name, "number", fmt.Sprint(from+i))
		}
		e := series.Entry{Key: series.AppendKey(nil, ls), First: len(b.Samples), Count: r.IntN(4)}
		for range e.Count {
			b.Samples = append(b.Samples, series.Sample{T: randomTime(r), V: randomValue(r)})
		}
		if r.IntN(5) == 0 {
			b.Histograms = append(b.Histograms, randomHistogram(r, i))
		}
		for range r.IntN(3) / 2 {
			b.Exemplars = append(b.Exemplars, series.Exemplar{Series: i, Exemplar: exemplar.Exemplar{
				Labels: labels.FromStrings("trace_id", fmt.Sprint(r.Uint64()), "a", ""), Value: randomValue(r), Ts: randomTime(r), HasTs: true}})
		}
		b.Series = append(b.Series, e)
	}
	for range r.IntN(3) / 2 {
		b.Metadata = append(b.Metadata, series.Metadata{Family: fmt.Sprint("metric_", r.IntN(7)), Type: model.MetricTypeGauge, Unit: "seconds", Help: "Help"})
	}
	return b
}

func randomTime(r *rand.Rand) int64 {
	switch r.IntN(8) {
	case 0:
		return math.MinInt64
	case 1:
		return -int64(r.IntN(1000)) - 1
	case 2:
		return math.MaxInt64
	}
	return 1_700_000_000_000 + r.Int64N(1e9)
}

func randomValue(r *rand.Rand) float64 {
	switch r.IntN(10) {
	case 0:
		return math.Float64frombits(value.StaleNaN)
	case 1:
		return math.NaN()
	case 2:
		return math.Inf(-1)
	case 3:
		return 0
	case 4:
		return math.Copysign(0, -1)
	}
	return r.NormFloat64()
}

func randomHistogram(r *rand.Rand, i int) series.Histogram {
	h := series.Histogram{Series: i, T: randomTime(r)}
	switch r.IntN(5) {
	case 0:
		h.Float = tsdbutil.GenerateTestFloatHistogram(r.Int64N(100))
		h.Float.CounterResetHint = histogram.GaugeType
	case 1:
		h.Float = tsdbutil.GenerateTestCustomBucketsFloatHistogram(r.Int64N(100))
	case 2:
		h.Int = tsdbutil.GenerateTestCustomBucketsHistogram(r.Int64N(100))
	case 3:
		h.Int = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	default:
		h.Int = tsdbutil.GenerateTestHistogram(r.Int64N(100))
	}
	return h
}

// describe is what a batch says of each series that has something.
func describe(b *series.Batch) (all []string) {
	for i := range b.Series {
		if c := contents(b, i); len(c) > 0 {
			all = append(all, fmt.Sprintf("%x: %q", b.Series[i].Key, c))
		}
	}
	for _, m := range b.Metadata {
		all = append(all, fmt.Sprint(m))
	}
	slices.Sort(all)
	return all
}

func mustRing(t testing.TB, n, replication int) *shard.Ring {
	var ns []shard.Node
	for i := range n {
		ns = append(ns, shard.Node{ID: nodeID(i), State: shard.Active})
	}
	r, err := shard.NewRing(ns, replication)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// divide does what ship does before it sends.
func divide(t testing.TB, s *split, b *series.Batch, rs *routes, n int) [][]*delivery {
	s.place(b, rs, "device_id", series.Limits{})
	if err := s.encode(b, rs, nobodyKnows); err != nil {
		t.Fatal(err)
	}
	s.address(n, -1)
	byNode, _ := s.pack()
	return byNode
}

// Every node gets exactly its series, with all that they have, and generated code reads them.
func TestEncodeRoundTrip(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(6)
		rs := newRoutes(mustRing(t, n, 1+r.IntN(3)))
		b := randomBatch(r, r.IntN(60), 0)
		s := &split{}
		for node, ds := range divide(t, s, b, rs, n) {
			var got []string
			for _, d := range ds {
				plain, err := snappy.Decode(nil, d.body.b)
				if err != nil {
					t.Fatal(err)
				}
				part, err := batchOf(plain)
				if err != nil {
					t.Fatal(err)
				}
				if len(part.Series) != d.body.series || len(part.Samples)+len(part.Histograms) != d.body.samples {
					t.Fatalf("seed %d: a body has %d series and %d samples, and says %d and %d", seed, len(part.Series), len(part.Samples)+len(part.Histograms), d.body.series, d.body.samples)
				}
				got = append(got, describe(part)...)
			}
			mine := &series.Batch{Samples: b.Samples, Histograms: b.Histograms, Exemplars: b.Exemplars, Metadata: b.Metadata}
			for _, e := range b.Series {
				if !slices.Contains(rs.ring.Writers(shard.PartitionOfKey(e.Key, "device_id")), uint8(node)) {
					e.Count = 0
					mine.Histograms = slices.DeleteFunc(slices.Clone(mine.Histograms), func(h series.Histogram) bool { return h.Series == len(mine.Series) })
					mine.Exemplars = slices.DeleteFunc(slices.Clone(mine.Exemplars), func(x series.Exemplar) bool { return x.Series == len(mine.Series) })
				}
				mine.Series = append(mine.Series, e)
			}
			slices.Sort(got)
			if want := describe(mine); !slices.Equal(got, want) {
				t.Fatalf("seed %d, node %d: got\n%s\nwant\n%s", seed, node, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// A series that is larger than a body comes in pieces, each of which a node can take.
func TestEncodeLargeSeries(t *testing.T) {
	b := &series.Batch{}
	for i := range 2 {
		e := series.Entry{Key: series.AppendLabel(nil, "__name__", fmt.Sprint("m", i)), First: len(b.Samples), Count: 2*pieceSamples + 7}
		for j := range e.Count {
			b.Samples = append(b.Samples, series.Sample{T: int64(j) << 40, V: math.Sqrt(float64(j))})
		}
		b.Series = append(b.Series, e)
	}
	s := &split{}
	byNode := divide(t, s, b, newRoutes(mustRing(t, 3, 3)), 3)
	if len(byNode[1]) < 2 || byNode[1][0].body != byNode[2][0].body {
		t.Errorf("%d bodies; they are shared: %v", len(byNode[1]), byNode[1][0].body == byNode[2][0].body)
	}
	got := map[string]int{}
	for _, d := range byNode[1] {
		plain, err := snappy.Decode(nil, d.body.b)
		if err != nil || len(plain) > bodyBytes+2*parcelBytes {
			t.Fatalf("a body of %d bytes, %v", len(plain), err)
		}
		part, err := batchOf(plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range part.Series {
			got[string(e.Key)] += e.Count
		}
	}
	for _, e := range b.Series {
		if got[string(e.Key)] != e.Count {
			t.Errorf("%d samples of %d", got[string(e.Key)], e.Count)
		}
	}
}

// loosen makes a sloppy key of the same labels.
func loosen(r *rand.Rand, key []byte) []byte {
	var out []byte
	_ = series.EachLabel(key, func(name, value string) {
		field := func(b []byte, tag byte, s string) []byte {
			b = append(b, tag)
			if len(s) < 0x80 && r.IntN(3) == 0 {
				return append(append(b, byte(len(s))|0x80, 0), s...) // a length of two bytes where one would do
			}
			return appendString(b, s)
		}
		n, v := field(nil, tagLabelName, name), field(nil, tagLabelValue, value)
		if r.IntN(3) == 0 {
			n, v = v, n
		}
		frame := append(n, v...)
		out = binary.AppendUvarint(append(out, tagLabel), uint64(len(frame)))
		out = append(out, frame...)
	})
	return out
}

// A series goes where its partition is, whatever of its key was looked at, and also when its route is known from before.
func TestPlaceAgreesWithPartition(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	rs := newRoutes(mustRing(t, 20, 3))
	b := randomBatch(r, 3000, 0)
	for _, ls := range []labels.Labels{
		labels.FromStrings("__name__", "m", "device_id", ""), labels.FromStrings("__name__", "", "device_id", "d"), labels.EmptyLabels(),
		labels.FromStrings("device_id", "d"), labels.FromStrings("__name__", strings.Repeat("m", 300), "device_id", strings.Repeat("d", 300), "z", "z"),
	} {
		b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, ls), Count: 1})
	}
	s, known := &split{}, 0
	for range 3 {
		sloppy := series.Batch{Series: slices.Clone(b.Series), Samples: b.Samples, Histograms: b.Histograms, Exemplars: b.Exemplars}
		for i := range sloppy.Series {
			if e := &sloppy.Series[i]; r.IntN(4) == 0 {
				e.Key = loosen(r, e.Key)
			}
		}
		s.place(&sloppy, rs, "device_id", series.Limits{})
		for i, e := range b.Series {
			want := int32(rs.of[shard.PartitionOfKey(e.Key, "device_id")])
			if s.route[i] != none && (s.route[i] != want || !bytes.Equal(s.keys[i], e.Key) || s.ids[i] != series.HashKey(e.Key)) {
				t.Fatalf("%q takes route %d, want %d", e.Key, s.route[i], want)
			}
			if s.knows[i] != 0 {
				known++
			}
			if s.route[i] != none && r.IntN(2) == 0 {
				rs.known.learn(s.ids[i:i+1], &rs.all[want], r.IntN(3))
			}
		}
	}
	if known < len(b.Series)/4 {
		t.Errorf("of %d series in three batches the routes of %d are known", len(b.Series), known)
	}
}

func canonical(key []byte) bool {
	_, _, good := look(key, "device_id")
	return good
}

func TestCanonical(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		key := randomBatch(r, 1, i).Series[0].Key
		if !canonical(key) {
			t.Fatalf("%q is canonical", key)
		}
		loose := loosen(r, key)
		if got, want := canonical(loose), bytes.Equal(loose, key); got != want {
			t.Fatalf("%q: canonical %v, want %v", loose, got, want)
		}
		if b := (&series.Batch{Series: []series.Entry{{Key: loose}}}); !bytes.Equal(tidy(b, 0, series.Limits{}), key) {
			t.Fatalf("%q does not become %q", loose, key)
		}
	}
}

// What is taken for canonical is so for the store as well, or refused by it.
func FuzzCanonical(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 10 {
		key := randomBatch(r, 1, i).Series[0].Key
		f.Add(key)
		f.Add(loosen(r, key))
		f.Add(key[:len(key)-1])
	}
	f.Add(series.AppendLabel(nil, "", ""))
	f.Add(append(series.AppendLabel(nil, "a", strings.Repeat("x", 200)), 0x0a))
	f.Fuzz(func(t *testing.T, key []byte) {
		want, err := series.CheckKey(key, series.Limits{})
		if err != nil {
			return
		}
		if got := canonical(key); got != want {
			t.Errorf("%x: canonical %v, the store says %v", key, got, want)
		}
	})
}

func benchmarkBatch(n int) *series.Batch {
	b := &series.Batch{}
	for i := range n {
		ls := labels.FromStrings("__name__", fmt.Sprintf("sensor_metric_%d", i%20), "building", fmt.Sprint("building-", i%12), "device_id", fmt.Sprintf("device-%06d", i/20),
			"model", fmt.Sprint("model-", i%5), "room", fmt.Sprintf("room-%04d", i%300), "site", fmt.Sprint("site-", i%4))
		b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, ls), First: i, Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: 1_700_000_000_000 + int64(i%7), V: 20 + float64(i%100)/10})
	}
	return b
}

func BenchmarkSplit(b *testing.B) {
	for _, n := range []int{3, 5, 10} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			batch := benchmarkBatch(2000)
			rs := newRoutes(mustRing(b, n, 3))
			s := &split{}
			b.ReportAllocs()
			for b.Loop() {
				s.place(batch, rs, "device_id", series.Limits{})
				if err := s.encode(batch, rs, nobodyKnows); err != nil {
					b.Fatal(err)
				}
				s.address(n, 0)
				_, all := s.pack()
				for _, x := range all {
					x.release()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Samples)), "ns/sample")
		})
	}
}

func BenchmarkPlace(b *testing.B) {
	batch, s := benchmarkBatch(2000), &split{}
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			rs := newRoutes(mustRing(b, 3, 3))
			s.place(batch, rs, "device_id", series.Limits{})
			for range 5 {
				for i, id := range s.ids {
					if known {
						rs.known.learn([]series.ID{id}, &rs.all[s.route[i]], 0)
					}
				}
			}
			for b.Loop() {
				s.place(batch, rs, "device_id", series.Limits{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Samples)), "ns/sample")
		})
	}
}

// nobodyKnows is for encode: nobody knows any series.
func nobodyKnows(*route) uint8 { return 0 }
