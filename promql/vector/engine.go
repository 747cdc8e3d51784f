package vector

import (
	"context"
	"errors"
	"log/slog"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk"
)

// Source is where the samples are: the same as in the Queryable that queries are made with.
type Source interface {
	Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error)
}

// Selection is the series that matchers select, with what they have in a range of time. It is safe for concurrent use.
type Selection interface {
	Len() int
	Labels(i int, b *labels.ScratchBuilder) labels.Labels
	// AppendValues appends the values of some labels to dst, each followed by 0xff; one that is not there is empty.
	AppendValues(dst []byte, i int, names ...string) []byte
	// Chunks appends the chunks that overlap the range, disjoint and in time order: with data where need says
	// so of their times, with nil everywhere, and the others with statistics. Data that must be made is appended to buf.
	Chunks(dst []chunk.Chunk, buf *[]byte, i int, need chunk.Need) ([]chunk.Chunk, error)
	// Coarse says whether buckets stand for samples that are no longer kept.
	Coarse() bool
	// Err says whether labels that were handed out may be wrong.
	Err() error
	Close()
}

// Options are for New.
type Options struct {
	MaxSamples int                   // points that a query may hold; 0 means 50,000,000
	Timeout    time.Duration         // of a query; 0 means 2m
	Scatter    Scatter               // evaluates aggregations where the series are; nil: all series are read here
	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics are not registered
}

// Engine evaluates what it can by itself and the rest by Prometheus's engine.
type Engine struct {
	*prom.Engine
	evaluator
	o         Options
	queries   *prometheus.CounterVec
	scattered *prometheus.CounterVec
}

// New returns an engine over source. The engine below stays its maker's to close.
func New(below *prom.Engine, source Source, o Options) *Engine {
	if o.MaxSamples == 0 {
		o.MaxSamples = 50_000_000
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{Engine: below, evaluator: evaluator{source: source, log: o.Logger, hot: newHotChunks()}, o: o}
	e.queries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_promql_evaluations_total",
		Help: "PromQL queries by who evaluated them: the vectorised path, Prometheus's engine, or both.",
	}, []string{"by"})
	e.scattered = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_promql_scattered_aggregations_total",
		Help: "Aggregations over series that other nodes have, by outcome: those nodes added all of them up (pushed), or a part (partly), or all were read by this node (read).",
	}, []string{"outcome"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(e.queries, e.scattered)
	}
	return e
}

// NewInstantQuery makes a query of one time.
func (e *Engine) NewInstantQuery(ctx context.Context, q storage.Queryable, o prom.QueryOpts, text string, at time.Time) (prom.Query, error) {
	s := &splice{below: q}
	below, err := e.Engine.NewInstantQuery(ctx, s, o, text, at)
	return e.query(below, s, o), err
}

// NewRangeQuery makes a query of several times.
func (e *Engine) NewRangeQuery(ctx context.Context, q storage.Queryable, o prom.QueryOpts, text string, start, end time.Time, step time.Duration) (prom.Query, error) {
	s := &splice{below: q}
	below, err := e.Engine.NewRangeQuery(ctx, s, o, text, start, end, step)
	return e.query(below, s, o), err
}

func (e *Engine) query(below prom.Query, s *splice, o prom.QueryOpts) prom.Query {
	if below == nil || o != nil && (o.EnablePerStepStats() || o.UseStartTimestamps() != nil && *o.UseStartTimestamps()) {
		return below
	}
	return &query{Query: below, e: e, splice: s, cancel: func() {}}
}

// query is a query of Prometheus's engine some of whose subtrees are evaluated before it runs.
type query struct {
	prom.Query
	e      *Engine
	splice *splice
	cancel func()
}

// Cancel ends Exec.
func (q *query) Cancel() {
	q.cancel()
	q.Query.Cancel()
}

// Exec evaluates the query.
func (q *query) Exec(ctx context.Context) *prom.Result {
	stmt, ok := q.Statement().(*parser.EvalStmt)
	var st steps
	if ok {
		st, ok = stepsOf(stmt)
	}
	if !ok {
		return q.leave(ctx)
	}
	ctx, q.cancel = context.WithTimeout(ctx, q.e.o.Timeout)
	defer q.cancel()
	s := q.splice
	st.ranks = q.e.o.Scatter != nil
	s.find(st, stmt)
	if len(s.places) == 0 {
		return q.leave(ctx)
	}
	res := q.fill(ctx, st, stmt)
	switch {
	case res != nil:
		return res
	case len(s.answers) == 0:
		return q.leave(ctx)
	}
	q.e.queries.WithLabelValues("both").Inc()
	return q.Query.Exec(ctx)
}

func (q *query) leave(ctx context.Context) *prom.Result {
	q.e.queries.WithLabelValues("engine").Inc()
	return q.Query.Exec(ctx)
}

// fill evaluates the subtrees while it holds a slot. A nil result says that the engine is to go on.
func (q *query) fill(ctx context.Context, st steps, stmt *parser.EvalStmt) *prom.Result {
	done, err := q.e.AcquireQuerySlot(ctx, q.String())
	if err != nil {
		return &prom.Result{Err: err}
	}
	defer done()
	b := &budget{max: int64(q.e.o.MaxSamples)}
	for _, pl := range q.splice.places {
		if res := q.place(ctx, pl, st, stmt, b); res != nil {
			return res
		}
	}
	return nil
}

// place evaluates a subtree, as fill does all.
func (q *query) place(ctx context.Context, pl place, st steps, stmt *parser.EvalStmt, b *budget) *prom.Result {
	held := b.points.Load()
	a, err := q.e.evaluate(ctx, pl.plan, b)
	b.points.Store(held + a.points()) // what was added up is let go of
	switch {
	case errors.Is(err, errTogether):
		for _, in := range pl.in {
			if res := q.place(ctx, in, st, stmt, b); res != nil {
				return res
			}
		}
	case errors.Is(err, errUnfit):
	case err != nil:
		return &prom.Result{Err: asEngine(ctx, err)}
	case pl.plan.expr == stmt.Expr:
		q.e.queries.WithLabelValues("vector").Inc()
		return a.result(st, stmt)
	default:
		q.splice.put(pl, a)
	}
	return nil
}

// asEngine is an error as Prometheus's engine puts it.
func asEngine(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return prom.ErrQueryCanceled("expression evaluation")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return prom.ErrQueryTimeout("expression evaluation")
	}
	return err
}

// result is the answer to a whole statement.
func (a *answer) result(st steps, stmt *parser.EvalStmt) *prom.Result {
	if stmt.Interval != 0 || !stmt.Start.Equal(stmt.End) {
		sort.Sort(a.matrix)
		return &prom.Result{Value: a.matrix, Warnings: a.notes}
	}
	v := make(prom.Vector, len(a.matrix))
	for i, s := range a.matrix {
		v[i] = prom.Sample{Metric: s.Metric, F: s.Floats[0].F, T: st.start}
	}
	return &prom.Result{Value: v, Warnings: a.notes}
}
