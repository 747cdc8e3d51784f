package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// lookup is a request for series, label names or label values.
type lookup struct {
	limit      int
	mint, maxt int64 // ms, inclusive
	sets       [][]*labels.Matcher
}

// lookupParams reads the parameters of a lookup; unmatched makes the error of a bad match[].
func (a *API) lookupParams(r *http.Request, unmatched func(error) error) (lookup, error) {
	limit, err := limitParam(r)
	if err != nil {
		return lookup{}, err
	}
	mint, maxt, err := spanParams(r)
	if err != nil {
		return lookup{}, err
	}
	sets, err := a.matchParam(r)
	if err != nil {
		return lookup{}, unmatched(err)
	}
	return lookup{limit, mint, maxt, sets}, nil
}

// querier opens a querier that holds a slot. The strings that it gives live
// until done is called.
func (a *API) querier(ctx context.Context, l lookup) (q storage.Querier, done func(), err error) {
	if _, err := a.lookups.Insert(ctx, ""); err != nil {
		return nil, nil, err
	}
	if q, err = a.o.Queryable.Querier(l.mint, l.maxt); err != nil {
		a.lookups.Delete(0)
		return nil, nil, err
	}
	return q, func() {
		if err := q.Close(); err != nil {
			a.o.Logger.Error("could not close a querier", "err", err)
		}
		a.lookups.Delete(0)
	}, nil
}

func (a *API) labelNames(r *http.Request) (reply, error) {
	l, err := a.lookupParams(r, badData)
	if err != nil {
		return reply{}, err
	}
	return a.names(r.Context(), l, storage.LabelQuerier.LabelNames)
}

func (a *API) labelValues(r *http.Request) (reply, error) {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return reply{}, badData(fmt.Errorf("invalid label name: %q", name))
	}
	l, err := a.lookupParams(r, badData)
	if err != nil {
		return reply{}, err
	}
	return a.names(r.Context(), l, func(q storage.LabelQuerier, ctx context.Context, h *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, h, ms...)
	})
}

// names replies with the sorted union of what ask finds for each set of matchers.
func (a *API) names(ctx context.Context, l lookup,
	ask func(storage.LabelQuerier, context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error),
) (reply, error) {
	q, done, err := a.querier(ctx, l)
	if err != nil {
		return reply{}, err
	}
	rep := reply{done: done}
	sets := l.sets
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	var all []string
	for _, set := range sets {
		names, notes, err := ask(q, ctx, &storage.LabelHints{Limit: oneMore(l.limit)}, set...)
		if err != nil {
			return rep, err
		}
		rep.annotations.Merge(notes)
		all = append(all, names...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if l.limit > 0 && len(all) > l.limit {
		all = all[:l.limit]
		rep.annotations.Add(errTruncated)
	}
	rep.data = func(e *encoder) { e.strings(all) }
	return rep, nil
}

func (a *API) series(r *http.Request) (reply, error) {
	if len(r.Form["match[]"]) == 0 {
		return reply{}, badData(errors.New("no match[] parameter provided"))
	}
	l, err := a.lookupParams(r, func(err error) error { return badParam("match[]", err) })
	if err != nil {
		return reply{}, err
	}
	ctx := r.Context()
	q, done, err := a.querier(ctx, l)
	if err != nil {
		return reply{}, err
	}
	rep := reply{done: done}
	hints := &storage.SelectHints{Start: l.mint, End: l.maxt, Func: "series", Limit: oneMore(l.limit)}
	found := make([]storage.SeriesSet, len(l.sets))
	for i, set := range l.sets {
		// Sets must be sorted to be merged.
		found[i] = q.Select(ctx, len(l.sets) > 1, hints, set...)
	}
	set := found[0]
	if len(found) > 1 {
		set = storage.NewMergeSeriesSet(found, 0, storage.ChainedSeriesMerge)
	}
	var metrics []labels.Labels
	for set.Next() {
		if l.limit > 0 && len(metrics) == l.limit {
			rep.annotations.Add(errTruncated)
			break
		}
		metrics = append(metrics, set.At().Labels())
		if len(metrics)%1024 == 0 && ctx.Err() != nil {
			return rep, ctx.Err()
		}
	}
	if err := set.Err(); err != nil {
		return rep, err
	}
	rep.annotations.Merge(set.Warnings())
	rep.data = func(e *encoder) { e.labelSets(metrics) }
	return rep, nil
}

func (a *API) queryExemplars(r *http.Request) (reply, error) {
	mint, maxt, err := spanParams(r)
	if err != nil {
		return reply{}, err
	}
	if maxt < mint {
		return reply{}, badData(errors.New("end timestamp must not be before start timestamp"))
	}
	expr, err := a.parseExpr(r)
	if err != nil {
		return reply{}, badData(err)
	}
	selectors := parser.ExtractSelectors(expr)
	if len(selectors) == 0 {
		return reply{}, nil
	}
	none := reply{data: func(e *encoder) { e.raw("[]") }}
	if a.o.Exemplars == nil {
		return none, nil
	}
	if _, err := a.lookups.Insert(r.Context(), ""); err != nil {
		return reply{}, err
	}
	rep := reply{done: func() { a.lookups.Delete(0) }}
	q, err := a.o.Exemplars.ExemplarQuerier(r.Context())
	if err != nil {
		return rep, err
	}
	res, err := q.Select(mint, maxt, selectors...)
	if err != nil {
		return rep, err
	}
	rep.data = func(e *encoder) { e.exemplars(res) }
	return rep, nil
}
