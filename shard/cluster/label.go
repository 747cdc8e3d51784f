package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// LabelValues returns the sorted values of a label in the cluster.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.strings(ctx, name, hints, ms)
}

// LabelNames returns the sorted label names of the cluster.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.strings(ctx, "", hints, ms)
}

// strings asks for the values of a label, or for names without one.
func (q *querier) strings(ctx context.Context, label string, hints *storage.LabelHints, ms []*labels.Matcher) ([]string, annotations.Annotations, error) {
	limit := 0
	if hints != nil && hints.Limit > 0 {
		limit = hints.Limit
	}
	var notes annotations.Annotations
	all, err := ask(ctx, q.r, q.r.partitions(ctx, ms), func(ctx context.Context, qn *question) ([]string, error) {
		req := request{mint: q.mint, maxt: q.maxt, label: label, limit: limit, sets: [][]*labels.Matcher{ms}}
		got, err := qn.labelJob(req).run(ctx)
		var all []string
		for _, r := range got {
			all = append(all, r.answer...)
		}
		notes = noted(qn.lost.warning())
		return all, err
	})
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, notes, nil
}

// noted makes annotations of a warning, if there is one.
func noted(warning error) (notes annotations.Annotations) {
	if warning != nil {
		notes.Add(warning)
	}
	return notes
}

func (q *question) labelJob(req request) job[[]string] {
	return job[[]string]{q: q, kind: "labels", parts: q.parts, need: q.needed, few: true,
		ask: func(ctx context.Context, node int, parts *shard.Set, beat func()) ([]string, error) {
			req := req
			req.parts = parts
			if node == q.v.Self {
				return localLabels(within(ctx, parts), q.r.local, &req)
			}
			var all []string
			err := q.stream(ctx, node, pathLabels, &req, beat, func(payload []byte) (err error) {
				all, err = appendStrings(all, payload, q.budget)
				return err
			})
			return all, err
		}}
}

// localLabels are the values or names that this node knows, sorted.
func localLabels(ctx context.Context, local storage.Queryable, req *request) ([]string, error) {
	q, err := local.Querier(req.mint, req.maxt)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	var all []string
	hints := &storage.LabelHints{Limit: req.limit}
	if req.label == "" {
		all, _, err = q.LabelNames(ctx, hints, req.matchers()...)
	} else {
		all, _, err = q.LabelValues(ctx, req.label, hints, req.matchers()...)
	}
	out := make([]string, len(all)) // they live as long as the querier
	for i, s := range all {
		out[i] = strings.Clone(s)
	}
	return out, err
}

// labels answers with the values of a label or the names of all, sorted, each with its length before it.
func (h *ReadHandlers) labels(ctx context.Context, w *answerWriter, q *request) error {
	all, err := localLabels(ctx, h.local, q)
	if err != nil {
		return err
	}
	var buf []byte
	for _, s := range all {
		if buf = appendString(buf, s); len(buf) >= frameBytes {
			if err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	if len(buf) == 0 {
		return nil
	}
	return w.Write(buf)
}

var errStrings = errors.New("the labels are malformed")

// appendStrings appends the strings of a frame. Nothing of it is believed.
func appendStrings(all []string, payload []byte, b *budget) ([]string, error) {
	u := unpacker{b: payload}
	for len(u.b) > 0 {
		s := string(u.bytes())
		if n := len(all); u.bad || n > 0 && all[n-1] >= s {
			return nil, errStrings
		}
		if err := b.take(int64(len(s)) + 16); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// seriesNames returns the keys of the series in the cluster that match and have something in a range, in no order. A limit
// is that of what is wanted.
func (r *Reader) seriesNames(ctx context.Context, mint, maxt int64, limit int, ms []*labels.Matcher) (keys [][]byte, warning error, err error) {
	keys, err = ask(ctx, r, r.partitions(ctx, ms), func(ctx context.Context, q *question) ([][]byte, error) {
		got, err := q.nameJob(request{mint: mint, maxt: maxt, names: true, limit: limit}, ms).run(ctx)
		if err != nil {
			return nil, fmt.Errorf("series: %w", err)
		}
		warning = q.lost.warning()
		seen := map[series.ID]struct{}{}
		var keys [][]byte
		for _, r := range got {
			for i, id := range r.answer.ids {
				if _, ok := seen[id]; !ok {
					seen[id] = struct{}{}
					keys = append(keys, r.answer.keys[i])
				}
			}
		}
		return keys, nil
	})
	return keys, warning, err
}

func (q *question) nameJob(req request, ms []*labels.Matcher) job[*scanned] {
	return job[*scanned]{q: q, kind: "series", parts: q.parts, need: q.needed, few: true, drop: (*scanned).drop,
		ask: func(ctx context.Context, node int, parts *shard.Set, beat func()) (*scanned, error) {
			if node == q.v.Self {
				return localNames(within(ctx, parts), q.r.local, &req, ms)
			}
			req := req
			req.parts, req.sets, req.resolution = parts, [][]*labels.Matcher{ms}, series.Resolution(ctx)
			s := newScanReader(q.budget, parts, q.r.o.DeviceLabel)
			err := q.stream(ctx, node, pathScan, &req, beat, s.frame)
			if err == nil {
				err = s.end()
			}
			if err != nil {
				s.drop()
			}
			return s.scanned, err
		}}
}

// localNames are the series that this node knows.
func localNames(ctx context.Context, local storage.Queryable, req *request, ms []*labels.Matcher) (*scanned, error) {
	s := &scanned{budget: &budget{}}
	err := eachName(ctx, local, req.mint, req.maxt, ms, func(ls labels.Labels) (bool, error) {
		key := series.AppendKey(nil, ls)
		s.keys, s.ids = append(s.keys, key), append(s.ids, series.HashKey(key))
		return req.limit == 0 || len(s.keys) < req.limit, nil
	})
	return s, err
}
