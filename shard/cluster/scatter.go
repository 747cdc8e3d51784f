package cluster

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Divide divides the partitions that may have what matchers select into those of which this node has a replica, and those that only
// others have. When there are none of these there is nil.
func (r *Reader) Divide(ctx context.Context, ms []*labels.Matcher) (here, there *shard.Set) {
	v := r.members.View()
	if v.Alone() {
		return nil, nil
	}
	parts := r.partitions(ctx, ms)
	here, there = partsOf(v, parts)
	if there.Len() == 0 {
		return nil, nil
	}
	return here, there
}

// Scatter has one replica of each of some partitions evaluate requests about samples in [mint, maxt] (ms, inclusive), where the digests of as many replicas
// as must be heard were found equal. It gets what to ask about the time before another by request, together with what takes
// the answers in; nil says that there is nothing to be asked. Answers are taken one after the other when all are there, so that
// none is about a partition that another is about too. The first error of a take ends it.
//
// The rest is what nobody has answered: partitions that this node has, whose replicas differ, or whose owners are down, too old to know the question, or
// fail; all from the time on that the requests about them did not reach. It is for the caller to read.
func (r *Reader) Scatter(ctx context.Context, parts *shard.Set, mint, maxt int64, request func(before int64) (plan []byte, take func(answer []byte) error)) (rest []shard.Span, err error) {
	s, err := ask(ctx, r, parts, func(ctx context.Context, q *question) (*scattered, error) {
		s := &scattered{q: q, request: request, mint: mint, maxt: maxt}
		return s, s.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	for _, a := range s.answers {
		if err := a.take(a.answer); err != nil {
			return nil, err
		}
	}
	return s.rest, nil
}

// scattered is a question that others are to answer as far as they can.
type scattered struct {
	q          *question
	request    func(before int64) (plan []byte, take func(answer []byte) error)
	mint, maxt int64

	answers []evaluated
	rest    []shard.Span
}

// evaluated is the answer of a node, and what takes it in.
type evaluated struct {
	answer []byte
	take   func([]byte) error
}

// read leaves partitions to be read from a time on.
func (s *scattered) read(parts *shard.Set, from int64) {
	if parts.Len() > 0 {
		s.rest = append(s.rest, shard.Span{Parts: parts, From: from})
	}
}

func (s *scattered) run(ctx context.Context) error {
	own, others := partsOf(s.q.v, s.q.parts)
	s.read(own, always) // the ring has changed
	if others.Len() == 0 {
		return nil
	}
	s.q.parts = others
	spans, err := s.q.spans(ctx, s.mint, s.maxt)
	if err := s.fatal(ctx, err); err != nil {
		return err
	}
	if err != nil {
		s.q.r.m.unpushed.Add(float64(others.Len()))
		s.read(others, always)
		return nil
	}
	for _, sp := range spans {
		if err := s.span(ctx, sp); err != nil {
			return err
		}
	}
	return nil
}

// span asks one replica of each partition of a span about what is before its cut.
func (s *scattered) span(ctx context.Context, sp span) error {
	plan, take := s.request(sp.cut)
	if sp.cut <= s.mint || plan == nil {
		s.read(sp.parts, always)
		return nil
	}
	got, err := s.q.evaluate(ctx, sp, &request{mint: s.mint, maxt: s.maxt, plan: plan})
	if err := s.fatal(ctx, err); err != nil {
		return err
	}
	answered := &shard.Set{}
	for _, r := range got {
		s.answers = append(s.answers, evaluated{r.answer, take})
		answered.Union(r.parts)
	}
	left := *sp.parts
	left.Minus(answered)
	s.q.r.m.pushed.Add(float64(answered.Len()))
	s.q.r.m.unpushed.Add(float64(left.Len()))
	s.read(&left, always)
	if sp.cut <= s.maxt {
		s.read(answered, sp.cut)
	}
	return nil
}

// fatal is the error of which reading would die too, or which a new view of the ring mends.
func (s *scattered) fatal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if isStale(err) {
		return err
	}
	return nil
}

// evaluate has one replica of each partition of a span evaluate a request. Partitions of which none does are in no answer.
func (q *question) evaluate(ctx context.Context, s span, req *request) ([]reply[[]byte], error) {
	j := job[[]byte]{q: q, kind: "evaluate", parts: s.parts, need: one, may: s.may, strict: true, once: true, sparing: true}
	j.drop = func(answer []byte) { q.budget.give(int64(len(answer))) }
	j.ask = func(ctx context.Context, node int, parts *shard.Set, beat func()) (answer []byte, err error) {
		req := *req
		req.parts, req.resolution = parts, series.Resolution(ctx)
		err = q.stream(ctx, node, pathEvaluate, &req, beat, func(payload []byte) error {
			if payload[0] == frameAlive && len(payload) == 1 && len(answer) == 0 {
				return nil
			}
			if payload[0] != frameAnswer || len(payload) == 1 {
				return errEvaluated
			}
			answer = append(answer, payload[1:]...)
			return q.budget.take(int64(len(payload) - 1))
		})
		if err == nil && len(answer) == 0 {
			err = errEvaluated
		}
		if err != nil {
			j.drop(answer)
		}
		return answer, err
	}
	return j.run(ctx)
}

var errEvaluated = errors.New("the answer to an evaluation is malformed")

// partsOf divides partitions into those of which this node has a replica, and others.
func partsOf(v *shard.View, parts *shard.Set) (own, others *shard.Set) {
	left := *parts
	own = &shard.Set{}
	if v.Self >= 0 {
		own = v.Ring.Owned(v.Self)
		own.Intersect(parts)
		left.Minus(own)
	}
	return own, &left
}
