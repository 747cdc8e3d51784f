package cluster

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// Scan returns the series of the cluster that the matchers select and that may have samples in [mint, maxt] (ms, inclusive), in no
// order. The caller closes it.
func (r *Reader) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	if r.members.View().Alone() {
		return r.local.Scan(ctx, mint, maxt, ms...)
	}
	sel, _, err := r.scan(ctx, mint, maxt, ms)
	return sel, err
}

// scan also returns what the answer says of itself when it is partial.
func (r *Reader) scan(ctx context.Context, mint, maxt int64, ms []*labels.Matcher) (sel Selection, warning error, err error) {
	sel, err = ask(ctx, r, r.partitions(ctx, ms), func(ctx context.Context, q *question) (Selection, error) {
		spans, err := q.spans(ctx, mint, maxt)
		if err != nil {
			return nil, err
		}
		var all []found
		for _, s := range spans {
			more, err := q.readSpan(ctx, s, request{mint: mint, maxt: maxt, cut: always}, ms)
			if err != nil {
				dropAll(all)
				return nil, err
			}
			all = append(all, more...)
		}
		warning = q.lost.warning()
		return merge(all, mint, maxt), nil
	})
	return sel, warning, err
}

func dropAll(all []found) {
	for _, f := range all {
		f.drop()
	}
}

// readSpan reads a span: whole from one replica and from its cut on from as many as must be heard. The request has the range, and a cut where
// statistics are wanted of what other nodes have before it.
func (q *question) readSpan(ctx context.Context, s span, req request, ms []*labels.Matcher) ([]found, error) {
	if s.cut <= req.mint {
		return q.readAll(ctx, s.parts, req, ms)
	}
	whole := q.scanJob("scan", s.parts, req, ms)
	whole.need, whole.may, whole.strict = one, s.may, true
	if s.cut > req.maxt {
		got, err := whole.run(ctx)
		return q.orAll(ctx, got, err, s, req, ms)
	}
	late := req
	late.mint, late.cut = s.cut, always
	rest := q.scanJob("scan", s.parts, late, ms)
	rest.need = func(p uint16) int { return q.needed(p) - 1 }
	rest.may = func(p uint16, n int) bool { return n != q.first(p, s.may) }
	got, more, err := both(ctx, whole, rest)
	if err == nil {
		got = append(got, more...)
		more, err = q.complete(ctx, s.parts, got, late, ms)
		got = append(got, more...)
	}
	return q.orAll(ctx, got, err, s, req, ms)
}

// both runs two jobs at once.
func both(ctx context.Context, a, b job[found]) (got, more []reply[found], err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var errB error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if more, errB = b.run(ctx); errB != nil {
			cancel()
		}
	}()
	if got, err = a.run(ctx); err != nil {
		cancel()
	}
	<-done
	switch {
	case errB != nil && (err == nil || errors.Is(err, context.Canceled)):
		err = errB
	case err == nil:
		return got, more, nil
	}
	dropReplies(got)
	dropReplies(more)
	return nil, nil, err
}

func dropReplies(all []reply[found]) {
	for _, r := range all {
		r.answer.drop()
	}
}

// complete reads what is missing when a node stepped in for another that it was to be compared with. After an error what there was is
// let go of.
func (q *question) complete(ctx context.Context, parts *shard.Set, got []reply[found], late request, ms []*labels.Matcher) ([]reply[found], error) {
	heard := map[int]*shard.Set{}
	for _, r := range got {
		set(heard, r.node).Union(r.parts)
	}
	count := func(p uint16) (n int) {
		for _, s := range heard {
			if s.Has(p) {
				n++
			}
		}
		return n
	}
	missing := &shard.Set{}
	for p := range parts.Partitions() {
		if count(p) < q.needed(p) {
			missing.Add(p)
		}
	}
	if missing.Len() == 0 {
		return nil, nil
	}
	j := q.scanJob("scan", missing, late, ms)
	j.need = func(p uint16) int { return q.needed(p) - count(p) }
	j.may = func(p uint16, n int) bool { return heard[n] == nil || !heard[n].Has(p) }
	again, err := j.run(ctx)
	if err != nil {
		dropReplies(got)
	}
	return again, err
}

// readAll reads everything from as many replicas as must be heard.
func (q *question) readAll(ctx context.Context, parts *shard.Set, req request, ms []*labels.Matcher) ([]found, error) {
	req.cut = always
	j := q.scanJob("scan", parts, req, ms)
	j.need = q.needed
	got, err := j.run(ctx)
	return answers(got), err
}

// orAll is what was read of a span, or everything that others have when the replicas that were found equal do not answer any more.
func (q *question) orAll(ctx context.Context, got []reply[found], err error, s span, req request, ms []*labels.Matcher) ([]found, error) {
	var e *unanswered
	if errors.As(err, &e) && e.strict && !e.stale {
		return q.readAll(ctx, s.parts, req, ms)
	}
	if err != nil {
		return nil, err
	}
	return answers(got), nil
}

func answers(got []reply[found]) []found {
	all := make([]found, len(got))
	for i, r := range got {
		all[i] = r.answer
	}
	return all
}

// scanJob scans nodes.
func (q *question) scanJob(kind string, parts *shard.Set, req request, ms []*labels.Matcher) job[found] {
	return job[found]{q: q, kind: kind, parts: parts, drop: found.drop,
		ask: func(ctx context.Context, node int, parts *shard.Set, beat func()) (found, error) {
			if node == q.v.Self {
				sel, err := q.r.local.Scan(within(ctx, parts), req.mint, req.maxt, ms...)
				return found{local: sel}, err
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
				return found{}, err
			}
			return found{remote: s.scanned}, nil
		}}
}

// stream asks a node and calls frame with every frame of its answer.
func (q *question) stream(ctx context.Context, node int, path string, req *request, beat func(), frame func([]byte) error) error {
	req.epoch = q.v.Ring.Epoch()
	return q.r.stream(ctx, q.v.Members[node], path, req, beat, frame)
}

func (r *Reader) stream(ctx context.Context, m shard.Member, path string, req *request, beat func(), frame func([]byte) error) error {
	resp, err := r.client.Post(ctx, m, path, req.append(nil), http.Header{"Content-Type": {"application/octet-stream"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	frames := peer.NewFrameReader(resp.Body, maxFrame)
	for {
		payload, err := frames.Next()
		if errors.Is(err, io.EOF) {
			beat()
			_, _ = io.CopyN(io.Discard, resp.Body, 1) // to its end, so that the connection is used again
			return nil
		}
		if err != nil {
			return err
		}
		beat()
		r.m.received.Add(float64(len(payload)))
		if err := frame(payload); err != nil {
			return err
		}
	}
}
