package cluster

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// encoded are samples as chunks, some of them Dense, sorted as they come.
func encoded(t testing.TB, r *rand.Rand, lists [][]series.Sample) (all []chunk.Chunk) {
	t.Helper()
	for _, l := range lists {
		cs, err := chunk.Encode(nil, chunk.Slice(l))
		if err != nil {
			t.Fatal(err)
		}
		if r.IntN(2) == 0 {
			if cs, err = (&chunk.Rewriter{}).Append(nil, cs); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, cs...)
	}
	return all
}

// frames are the payloads of an answer that has these series.
func frames(t testing.TB, sums bool, keys []labels.Labels, chunks [][]chunk.Chunk) (all [][]byte) {
	t.Helper()
	rec := httptest.NewRecorder()
	w := newAnswerWriter(rec, time.Minute)
	s, err := newScanWriter(w, false, sums)
	if err != nil {
		t.Fatal(err)
	}
	sum := chunk.NoStats()
	sum.Observe(1, 2)
	for i, ls := range keys {
		if err := s.add(series.AppendKey(nil, ls), &sum, chunks[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	w.close(nil)
	fr := peer.NewFrameReader(rec.Body, maxFrame)
	for {
		payload, err := fr.Next()
		if err != nil {
			return all
		}
		all = append(all, bytes.Clone(payload))
	}
}

func manyHistograms(t testing.TB, n int) []chunk.Chunk {
	t.Helper()
	var e chunk.Encoder
	for i := range n {
		h := &histogram.Histogram{Schema: 2, Count: uint64(i), ZeroThreshold: 0.01, Sum: float64(i),
			PositiveSpans: []histogram.Span{{Offset: 3, Length: 2}, {Offset: 5, Length: 3}}, PositiveBuckets: []int64{1, 2, -1, 3, int64(i)},
			NegativeSpans: []histogram.Span{{Offset: -7, Length: 1}}, NegativeBuckets: []int64{9}}
		if err := e.Histogram(int64(1000*i), h); err != nil {
			t.Fatal(err)
		}
	}
	return e.Chunks()
}

func TestBucketsOfAHistogramChunk(t *testing.T) {
	for _, c := range manyHistograms(t, 20) {
		if n, err := bucketsOf(c.Data); n != 6 || err != nil {
			t.Errorf("%d buckets, %v", n, err)
		}
	}
	wide := chunkenc.NewHistogramChunk()
	app, err := wide.Appender()
	if err != nil {
		t.Fatal(err)
	}
	h := &histogram.Histogram{ZeroThreshold: 3.14, PositiveSpans: []histogram.Span{{Length: 5000}}, PositiveBuckets: make([]int64, 5000)}
	if _, _, _, err := app.AppendHistogram(nil, 0, 1, h, false); err != nil {
		t.Fatal(err)
	}
	if n, err := bucketsOf(wide.Bytes()); n != 5000 || err != nil {
		t.Errorf("%d buckets, %v", n, err)
	}
	// The bytes of the buckets are not there: an iterator would make room for all of them first.
	if err := checkChunk(&chunk.Chunk{Encoding: chunk.Histogram, Data: wide.Bytes()[:40]}); err == nil {
		t.Error("a cut chunk is accepted")
	}
}

// A series whose chunks do not fit into a frame goes on in the next.
func TestLongSeries(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var long []series.Sample
	for i := range int64(120_000) {
		long = append(long, series.Sample{T: i * 1000, V: r.NormFloat64()})
	}
	a, b := labels.FromStrings("__name__", "a"), labels.FromStrings("__name__", "b")
	cs := encoded(t, r, [][]series.Sample{long})
	for _, sums := range []bool{false, true} {
		payloads := frames(t, sums, []labels.Labels{a, b}, [][]chunk.Chunk{cs, cs[:1]})
		if len(payloads) < 4 {
			t.Fatalf("%d frames", len(payloads))
		}
		s := newScanReader(&budget{max: 64 << 20}, shard.All(), "device_id")
		for _, p := range payloads {
			if err := s.frame(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.end(); err != nil || len(s.keys) != 2 || len(s.chunksOf(0)) != len(cs) || len(s.chunksOf(1)) != 1 || len(s.sums) != map[bool]int{true: 2}[sums] {
			t.Errorf("%v, %d series with %d chunks and %d sums", err, len(s.keys), len(s.chunks), len(s.sums))
		}
		cut := newScanReader(&budget{max: 64 << 20}, shard.All(), "device_id")
		for _, p := range payloads[:2] {
			if err := cut.frame(p); err != nil {
				t.Fatal(err)
			}
		}
		if cut.end() == nil {
			t.Error("an answer may end amid a series")
		}
		small := newScanReader(&budget{max: 1 << 16}, shard.All(), "device_id")
		var much *tooMuch
		if err := errors.Join(small.frame(payloads[0]), small.frame(payloads[1])); !errors.As(err, &much) {
			t.Errorf("beyond the budget: %v", err)
		}
	}
}

// A node that answers with what it was not asked for, or twice, is not believed.
func TestScanIsChecked(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	ls := labels.FromStrings("__name__", "m", "device_id", "d")
	cs := encoded(t, r, [][]series.Sample{{{T: 1, V: 1}, {T: 2, V: 2}}})
	none := &shard.Set{}
	rows := []struct {
		name   string
		parts  *shard.Set
		keys   []labels.Labels
		chunks [][]chunk.Chunk
		good   bool
	}{
		{"good", shard.All(), []labels.Labels{ls}, [][]chunk.Chunk{cs}, true},
		{"another partition", none, []labels.Labels{ls}, [][]chunk.Chunk{cs}, false},
		{"twice", shard.All(), []labels.Labels{ls, ls}, [][]chunk.Chunk{cs, cs}, false},
		{"overlapping", shard.All(), []labels.Labels{ls}, [][]chunk.Chunk{append(cs[:1:1], cs[0])}, false},
		{"no labels", shard.All(), []labels.Labels{labels.EmptyLabels()}, [][]chunk.Chunk{cs}, false},
		{"an unknown encoding", shard.All(), []labels.Labels{ls}, [][]chunk.Chunk{{{Encoding: 99, Stats: cs[0].Stats}}}, false},
		{"an empty chunk", shard.All(), []labels.Labels{ls}, [][]chunk.Chunk{{{Encoding: chunk.XOR, Data: []byte{0, 0}}}}, false},
	}
	for _, row := range rows {
		s := newScanReader(&budget{max: 1 << 20}, row.parts, "device_id")
		var err error
		for _, p := range frames(t, false, row.keys, row.chunks) {
			err = errors.Join(err, s.frame(p))
		}
		if (err == nil) != row.good {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func FuzzScan(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 3))
	keys := []labels.Labels{labels.FromStrings("__name__", "m", "device_id", "d"), labels.FromStrings("__name__", "h")}
	cs := encoded(f, r, [][]series.Sample{{{T: 1, V: 1}, {T: 2, V: 2}, {T: 9, V: -0.5}}})
	for _, sums := range []bool{false, true} {
		all := frames(f, sums, keys, [][]chunk.Chunk{cs, manyHistograms(f, 5)})
		f.Add(all[0], all[1])
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		b := &budget{max: 1 << 20}
		s := newScanReader(b, shard.All(), "device_id")
		if s.frame(head) != nil || s.frame(body) != nil || s.end() != nil {
			return
		}
		m := merge([]found{{remote: s.scanned}}, 0, 1<<40)
		var sb labels.ScratchBuilder
		for i := range m.Len() {
			m.Labels(i, &sb)
			var buf []byte
			cs, err := m.Chunks(nil, &buf, i, func(_ uint64, lo, hi int64) bool { return lo < 2 })
			if err == nil {
				decodeAll(cs)
			}
			if cs, err = m.Chunks(nil, &buf, i, nil); err == nil {
				decodeAll(cs)
			}
		}
	})
}

// decodeAll decodes chunks as far as that is possible.
func decodeAll(cs []chunk.Chunk) {
	for _, c := range cs {
		if it, err := c.Iterator(nil); err == nil && c.Encoding != chunk.Downsampled {
			for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
				if vt != chunkenc.ValFloat {
					it.AtFloatHistogram(nil)
				}
			}
		}
	}
}

func FuzzRequest(f *testing.F) {
	q := request{epoch: 5, parts: shard.All(), mint: -1, maxt: 1 << 50, resolution: 3, cut: 7, names: true, leaves: true, limit: 4, label: "x",
		ids: []series.ID{{Hi: 1, Lo: 2}}, sets: [][]*labels.Matcher{{labels.MustNewMatcher(labels.MatchRegexp, "a", "b|c")}, {everything}}}
	f.Add(q.append(nil))
	q.plan = []byte("{}")
	f.Add(q.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseRequest(b)
		if err != nil {
			return
		}
		again, err := parseRequest(q.append(nil))
		if err != nil || !bytes.Equal(again.append(nil), q.append(nil)) {
			t.Fatalf("%+v came back as %+v, %v", q, again, err)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(appendLeaf(appendLeaf(nil, shard.Leaf{Partition: 1, Window: shard.WindowMillis}), shard.Leaf{Partition: 2}))
	f.Add(appendString(appendString(nil, "a"), "b"))
	f.Add([]byte("\x04name\x05gauge\x00\x04help"))
	x := exemplar.Exemplar{Labels: labels.FromStrings("a", "b"), Value: 1, Ts: 2, HasTs: true}
	key := appendBytes(nil, series.AppendKey(nil, labels.FromStrings("__name__", "m")))
	f.Add(append(appendFloat(appendBytes(append(key, 1), series.AppendKey(nil, x.Labels)), 1), 4, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded := func(name string, n int64, err error) {
			if err == nil && n > 64*int64(len(b))+64 {
				t.Fatalf("%s take %d bytes of memory for %d", name, n, len(b))
			}
		}
		take := &budget{max: 1 << 30}
		d := &digests{sums: map[uint16]series.Digest{}}
		bounded("digests", take.used.Load(), d.frame(b, &request{parts: shard.All()}, take))
		take = &budget{max: 1 << 30}
		_, err := appendStrings(nil, b, take)
		bounded("labels", take.used.Load(), err)
		take = &budget{max: 1 << 30}
		_, err = parseMetadata(nil, b, take)
		bounded("metadata", take.used.Load(), err)
		take = &budget{max: 1 << 30}
		_, err = appendExemplars(nil, b, shard.All(), "device_id", take)
		bounded("exemplars", take.used.Load(), err)
		_, _ = bucketsOf(b)
	})
}
