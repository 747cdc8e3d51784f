package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
)

// content is samples by series, as text.
type content map[string][]string

// differences says where two contents differ; "" nowhere.
func (c content) differences(o content) string {
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if _, ok := o[k]; !ok {
			return fmt.Sprintf("%s is not there, with %d samples", k, len(c[k]))
		}
		for i, s := range c[k] {
			if i >= len(o[k]) || o[k][i] != s {
				return fmt.Sprintf("%s: sample %d of %d is %s; of the other %d: %v", k, i, len(c[k]), s, len(o[k]), o[k][min(i, len(o[k])):min(i+2, len(o[k]))])
			}
		}
		if len(o[k]) > len(c[k]) {
			return fmt.Sprintf("%s has more: %s", k, o[k][len(c[k])])
		}
	}
	for k := range o {
		if _, ok := c[k]; !ok {
			return k + " is there"
		}
	}
	return ""
}

// take adds the samples of an iterator that lie in a range.
func (c content) take(ls labels.Labels, it chunkenc.Iterator, mint, maxt int64) error {
	key := ls.String()
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		if t := it.AtT(); t < mint || t > maxt {
			continue
		}
		if vt == chunkenc.ValFloat {
			t, v := it.At()
			c[key] = append(c[key], fmt.Sprintf("%d %x", t, math.Float64bits(v)))
			continue
		}
		t, h := it.AtFloatHistogram(nil)
		c[key] = append(c[key], fmt.Sprintf("%d %v %s", t, vt, h.Copy().Compact(0)))
	}
	return it.Err()
}

// query is a random question.
type query struct {
	mint, maxt int64
	ms         []*labels.Matcher
}

func (q query) String() string {
	return fmt.Sprintf("[%d, %d] %v", q.mint-firstTime, q.maxt-firstTime, q.ms)
}

func randomQuery(r *rand.Rand) query {
	q := query{mint: firstTime + r.Int64N(lastTime-firstTime)}
	q.maxt = q.mint + r.Int64N(lastTime+1-q.mint)
	switch r.IntN(4) {
	case 0:
		q.mint, q.maxt = math.MinInt64, math.MaxInt64
	case 1:
		q.maxt = lastTime
	}
	name := []string{"temperature", "requests_total", "latency"}[r.IntN(3)]
	device := fmt.Sprint("d", r.IntN(6))
	match := labels.MustNewMatcher
	q.ms = [][]*labels.Matcher{
		{match(labels.MatchEqual, "__name__", name)},
		{match(labels.MatchEqual, "__name__", name), match(labels.MatchEqual, "device_id", device)},
		{match(labels.MatchEqual, "__name__", name), match(labels.MatchRegexp, "device_id", device+"|d1|nobody")},
		{match(labels.MatchRegexp, "__name__", ".+"), match(labels.MatchNotEqual, "site", "s0")},
		{match(labels.MatchEqual, "__name__", name), match(labels.MatchEqual, "job", "x")},
	}[r.IntN(5)]
	return q
}

type scannerOf interface {
	Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error)
}

// scanAll reads everything by Scan, and checks that what comes without data has the right statistics.
func scanAll(ctx context.Context, s scannerOf, q query) (content, error) {
	sel, err := s.Scan(ctx, q.mint, q.maxt, q.ms...)
	if err != nil {
		return nil, err
	}
	defer sel.Close()
	out := content{}
	var b labels.ScratchBuilder
	for i := range sel.Len() {
		ls := sel.Labels(i, &b)
		if got := string(sel.AppendValues(nil, i, "device_id", "none", "__name__")); got != ls.Get("device_id")+"\xff\xff"+ls.Get("__name__")+"\xff" {
			return nil, fmt.Errorf("%s has the values %q", ls, got)
		}
		var buf []byte
		cs, err := sel.Chunks(nil, &buf, i, nil)
		if err != nil {
			return nil, err
		}
		last := int64(math.MinInt64)
		for _, c := range cs {
			if c.MinTime <= last && last > math.MinInt64 {
				return nil, fmt.Errorf("%s: chunks overlap", ls)
			}
			last = c.MaxTime
			it, err := c.Iterator(nil)
			if err != nil {
				return nil, err
			}
			if err := out.take(ls, it, q.mint, q.maxt); err != nil {
				return nil, err
			}
		}
		if err := checkStats(sel, i, cs, q); err != nil {
			return nil, fmt.Errorf("%s: %w", ls, err)
		}
	}
	return out, sel.Err()
}

// checkStats compares the statistics that come in the place of data with the data.
func checkStats(sel Selection, i int, cs []chunk.Chunk, q query) error {
	need := func(_ uint64, lo, hi int64) bool { return lo < q.mint || hi > q.maxt }
	var buf []byte
	some, err := sel.Chunks(nil, &buf, i, need)
	if err != nil {
		return err
	}
	want, got := chunk.NoStats(), chunk.NoStats()
	for _, c := range cs {
		s, err := c.Measure()
		if err != nil {
			return err
		}
		if isFloat(&c) {
			want.Add(s)
		}
	}
	for _, c := range some {
		s := c.Stats
		switch {
		case !isFloat(&c):
			continue
		case need(c.Serial, c.MinTime, c.MaxTime):
			if s, err = c.Measure(); err != nil {
				return err
			}
		}
		got.Add(s)
	}
	return sameStats(want, got)
}

// sameStats compares statistics but for rounding.
func sameStats(want, got chunk.Stats) error {
	near := func(a, b float64) bool {
		return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1)
	}
	switch {
	case want.Samples != got.Samples || want.Stale != got.Stale,
		want.Samples > 0 && (want.MinTime != got.MinTime || want.MaxTime != got.MaxTime),
		!near(want.Total(), got.Total()) || !near(want.Min, got.Min) || !near(want.Max, got.Max) || !near(want.Increase, got.Increase):
		return fmt.Errorf("the statistics are %+v, want %+v", got, want)
	}
	return nil
}

func selectAll(ctx context.Context, s storage.Queryable, q query, hints *storage.SelectHints) (content, error) {
	qr, err := s.Querier(q.mint, q.maxt)
	if err != nil {
		return nil, err
	}
	defer qr.Close()
	out := content{}
	set := qr.Select(ctx, true, hints, q.ms...)
	var last labels.Labels
	var it chunkenc.Iterator
	for set.Next() {
		ls := set.At().Labels()
		if labels.Compare(last, ls) >= 0 {
			return nil, fmt.Errorf("%s comes after %s", ls, last)
		}
		last = ls
		if hints != nil && hints.Func == "series" {
			out[ls.String()] = nil
			continue
		}
		it = set.At().Iterator(it)
		if err := out.take(ls, it, q.mint, q.maxt); err != nil {
			return nil, err
		}
	}
	return out, set.Err()
}

func chunksAll(ctx context.Context, s storage.ChunkQueryable, q query) (content, error) {
	qr, err := s.ChunkQuerier(q.mint, q.maxt)
	if err != nil {
		return nil, err
	}
	defer qr.Close()
	out := content{}
	set := qr.Select(ctx, true, nil, q.ms...)
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() {
			if err := out.take(set.At().Labels(), it.At().Chunk.Iterator(nil), q.mint, q.maxt); err != nil {
				return nil, err
			}
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
	}
	return out, set.Err()
}

// labelsAll are names and values.
func labelsAll(ctx context.Context, s storage.Queryable, q query, limit int) (content, error) {
	qr, err := s.Querier(q.mint, q.maxt)
	if err != nil {
		return nil, err
	}
	defer qr.Close()
	out := content{}
	hints := &storage.LabelHints{Limit: limit}
	for _, ms := range [][]*labels.Matcher{nil, q.ms} {
		names, _, err := qr.LabelNames(ctx, hints, ms...)
		if err != nil {
			return nil, err
		}
		out[fmt.Sprint("names ", len(ms))] = slices.Clone(names)
		for _, name := range []string{"device_id", "__name__", "none"} {
			vs, _, err := qr.LabelValues(ctx, name, hints, ms...)
			if err != nil {
				return nil, err
			}
			all := []string{}
			for _, v := range vs {
				all = append(all, string([]byte(v)))
			}
			out[fmt.Sprint(name, len(ms))] = all
		}
	}
	return out, nil
}

func exemplarsAll(ctx context.Context, s storage.ExemplarQueryable, q query) (content, error) {
	x, err := s.ExemplarQuerier(ctx)
	if err != nil {
		return nil, err
	}
	all, err := x.Select(q.mint, q.maxt, q.ms, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "site", "s1")})
	out := content{}
	for _, one := range all {
		for _, e := range one.Exemplars {
			out[one.SeriesLabels.String()] = append(out[one.SeriesLabels.String()], fmt.Sprintf("%d %s %x", e.Ts, e.Labels, math.Float64bits(e.Value)))
		}
	}
	for _, l := range out {
		slices.Sort(l)
	}
	return out, err
}
