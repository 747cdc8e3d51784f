package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// ExemplarQuerier returns a querier of the exemplars that are kept in the cluster.
func (r *Reader) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	if r.members.View().Alone() {
		return r.local.ExemplarQuerier(ctx)
	}
	return &exemplarQuerier{r, ctx}, nil
}

type exemplarQuerier struct {
	r   *Reader
	ctx context.Context // Select has none
}

// Select returns the exemplars in [start, end] (ms) of the series that any of the matcher sets selects.
func (x *exemplarQuerier) Select(start, end int64, matchers ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	parts := &shard.Set{}
	for _, ms := range matchers {
		parts.Union(x.r.partitions(x.ctx, ms))
	}
	return ask(x.ctx, x.r, parts, func(ctx context.Context, q *question) ([]exemplar.QueryResult, error) {
		got, err := q.exemplarJob(request{mint: start, maxt: end, sets: matchers}).run(ctx)
		if err != nil {
			return nil, err
		}
		byKey := map[string]*exemplar.QueryResult{}
		for _, r := range got {
			for _, one := range r.answer {
				key := string(series.AppendKey(nil, one.SeriesLabels))
				if known := byKey[key]; known != nil {
					known.Exemplars = append(known.Exemplars, one.Exemplars...)
				} else {
					byKey[key] = &one
				}
			}
		}
		return united(byKey), nil
	})
}

// united are the exemplars of all series, each once.
func united(byKey map[string]*exemplar.QueryResult) []exemplar.QueryResult {
	out := make([]exemplar.QueryResult, 0, len(byKey))
	for _, one := range byKey {
		slices.SortFunc(one.Exemplars, func(a, b exemplar.Exemplar) int {
			return cmp.Or(cmp.Compare(a.Ts, b.Ts), cmp.Compare(a.Value, b.Value), labels.Compare(a.Labels, b.Labels))
		})
		one.Exemplars = slices.CompactFunc(one.Exemplars, sameExemplar)
		out = append(out, *one)
	}
	slices.SortFunc(out, func(a, b exemplar.QueryResult) int { return labels.Compare(a.SeriesLabels, b.SeriesLabels) })
	return out
}

// sameExemplar compares what was written, and NaN too was.
func sameExemplar(a, b exemplar.Exemplar) bool {
	return a.Ts == b.Ts && a.HasTs == b.HasTs && math.Float64bits(a.Value) == math.Float64bits(b.Value) && labels.Equal(a.Labels, b.Labels)
}

func (q *question) exemplarJob(req request) job[[]exemplar.QueryResult] {
	return job[[]exemplar.QueryResult]{q: q, kind: "exemplars", parts: q.parts, need: q.needed, few: true,
		ask: func(ctx context.Context, node int, parts *shard.Set, beat func()) ([]exemplar.QueryResult, error) {
			req := req
			req.parts = parts
			if node == q.v.Self {
				return localExemplars(within(ctx, parts), q.r.local, &req, q.r.o.DeviceLabel)
			}
			var all []exemplar.QueryResult
			err := q.stream(ctx, node, pathExemplars, &req, beat, func(payload []byte) (err error) {
				all, err = appendExemplars(all, payload, parts, q.r.o.DeviceLabel, q.budget)
				return err
			})
			return all, err
		}}
}

// localExemplars are those of this node.
func localExemplars(ctx context.Context, local storage.ExemplarQueryable, req *request, device string) ([]exemplar.QueryResult, error) {
	x, err := local.ExemplarQuerier(ctx)
	if err != nil {
		return nil, err
	}
	all, err := x.Select(req.mint, req.maxt, req.sets...)
	return slices.DeleteFunc(all, func(one exemplar.QueryResult) bool {
		return !req.parts.Has(shard.Partition(one.SeriesLabels, device))
	}), err
}

// exemplars answers with the exemplars of the series that match: of each, its key and theirs with their count before them.
func (h *ReadHandlers) exemplars(ctx context.Context, w *answerWriter, q *request) error {
	all, err := localExemplars(ctx, h.local, q, h.o.DeviceLabel)
	if err != nil {
		return err
	}
	var buf []byte
	for _, one := range all {
		buf = appendBytes(buf, series.AppendKey(nil, one.SeriesLabels))
		buf = binary.AppendUvarint(buf, uint64(len(one.Exemplars)))
		for _, e := range one.Exemplars {
			buf = appendBytes(buf, series.AppendKey(nil, e.Labels))
			buf = binary.AppendVarint(appendFloat(buf, e.Value), e.Ts)
			buf = append(buf, btoi(e.HasTs))
		}
		if len(buf) >= frameBytes {
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

func btoi(b bool) byte {
	if b {
		return 1
	}
	return 0
}

var errExemplars = errors.New("the exemplars are malformed")

const exemplarBytes = 96 // of memory, beside its labels

// appendExemplars appends the exemplars of a frame. Nothing of it is believed.
func appendExemplars(all []exemplar.QueryResult, payload []byte, parts *shard.Set, device string, b *budget) ([]exemplar.QueryResult, error) {
	if err := b.take(2 * int64(len(payload))); err != nil {
		return nil, err
	}
	var sb labels.ScratchBuilder
	u := unpacker{b: payload}
	for len(u.b) > 0 {
		key := u.bytes()
		n := u.count(11)
		if u.bad {
			return nil, errExemplars
		}
		if _, err := checkKey(key, parts, device); err != nil {
			return nil, err
		}
		if err := b.take(int64(n+1) * exemplarBytes); err != nil {
			return nil, err
		}
		one := exemplar.QueryResult{SeriesLabels: labelsOf(key, &sb)}
		for range n {
			ls := u.bytes()
			e := exemplar.Exemplar{Value: u.float(), Ts: u.varint(), HasTs: u.byte() == 1}
			if u.bad || !ordered(ls) {
				return nil, errExemplars
			}
			e.Labels = labelsOf(ls, &sb)
			one.Exemplars = append(one.Exemplars, e)
		}
		all = append(all, one)
	}
	return all, nil
}

// ordered says whether labels, which need no name of a metric, are well formed and sorted.
func ordered(key []byte) bool {
	last, good := "", true
	err := series.EachLabel(key, func(name, _ string) {
		good = good && name > last
		last = name
	})
	return err == nil && good
}
