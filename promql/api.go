package promql

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/series"
)

// Metadata yields what is known of metric families, in any order, a family
// several times when its sources disagree, until yield returns false.
type Metadata interface {
	Metadata(yield func(series.Metadata) bool)
}

// Options are what the API answers from, and its limits. Only Queryable must be set.
type Options struct {
	Queryable storage.Queryable
	Exemplars storage.ExemplarQueryable // nil: there are none
	Metadata  Metadata                  // nil: there is none

	// Engine, when set, evaluates queries in place of Prometheus's engine with the
	// limits below. It stays its maker's to close.
	Engine prom.QueryEngine

	// Accelerate, when set, puts another engine before Prometheus's, which has the limits below.
	Accelerate func(below *prom.Engine) prom.QueryEngine

	Timeout      time.Duration // of a query, its wait for a slot included; 0 means 2m
	Concurrency  int           // queries at a time, and as many lookups of series and labels; 0 means 20
	MaxSamples   int           // that a query may hold in memory; 0 means 50,000,000
	Lookback     time.Duration // how long a sample is current; 0 means 5m
	SubqueryStep time.Duration // of a subquery that names none; 0 means 1m
	Experimental bool          // accept PromQL's experimental functions

	Flags     map[string]string // for status/flags
	Config    string            // YAML for status/config
	Build     BuildInfo         // for status/buildinfo
	Retention string            // for status/runtimeinfo
	Started   time.Time         // for status/runtimeinfo; zero means the time of NewAPI
	// Corruptions, when set, counts damaged files found so far, for status/runtimeinfo.
	Corruptions func() int64
	// TSDB, when set, answers status/tsdb with at most limit rows a list.
	TSDB func(limit int) TSDBStatus

	Logger     *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: metrics are not registered
	Now        func() time.Time      // nil means time.Now
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Concurrency == 0 {
		o.Concurrency = 20
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = 50_000_000
	}
	if o.Lookback == 0 {
		o.Lookback = 5 * time.Minute
	}
	if o.SubqueryStep == 0 {
		o.SubqueryStep = time.Minute
	}
	if o.Flags == nil {
		o.Flags = map[string]string{}
	}
	if o.Build.GoVersion == "" {
		o.Build.GoVersion = runtime.Version()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Started.IsZero() {
		o.Started = o.Now()
	}
	return o
}

// API serves /api/v1. It is safe for concurrent use.
type API struct {
	o       Options
	engine  prom.QueryEngine
	own     *prom.Engine // engine, when it was made here
	parser  parser.Parser
	lookups *slots
	zip     *compressors
	metrics *metrics

	encoders *encoders
}

// NewAPI returns an API. It starts nothing; Close releases its engine.
func NewAPI(o Options) *API {
	o = o.withDefaults()
	a := &API{
		o:        o,
		engine:   o.Engine,
		parser:   parser.NewParser(parser.Options{EnableExperimentalFunctions: o.Experimental}),
		lookups:  newSlots(o.Concurrency),
		zip:      newCompressors(),
		metrics:  newMetrics(o.Registerer),
		encoders: newEncoders(),
	}
	if a.engine == nil {
		a.own = newEngine(o, a.parser)
		a.engine = a.own
		if o.Accelerate != nil {
			a.engine = o.Accelerate(a.own)
		}
	}
	return a
}

func newEngine(o Options, p parser.Parser) *prom.Engine {
	step := o.SubqueryStep.Milliseconds()
	return prom.NewEngine(prom.EngineOpts{
		Logger:                   o.Logger,
		Reg:                      o.Registerer,
		MaxSamples:               o.MaxSamples,
		Timeout:                  o.Timeout,
		ActiveQueryTracker:       newSlots(o.Concurrency),
		LookbackDelta:            o.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return step },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       true,
		Parser:                   p,
	})
}

// Close ends the engine that NewAPI made. No request may be running.
func (a *API) Close() error { return a.own.Close() }

// Handler serves /api/v1 and nothing else.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	a.Register(mux)
	return mux
}

// Register adds the API's paths to a mux. Under /api/v1/ the more specific
// paths of others take precedence, and what nobody serves is a JSON 404.
func (a *API) Register(mux *http.ServeMux) {
	get, both := []string{http.MethodGet}, []string{http.MethodGet, http.MethodPost}
	for _, r := range []struct {
		path    string
		methods []string
		serve   handler
	}{
		{"query", both, a.query},
		{"query_range", both, a.queryRange},
		{"query_exemplars", both, a.queryExemplars},
		{"format_query", both, a.formatQuery},
		{"parse_query", both, a.parseQuery},
		{"series", both, a.series},
		{"labels", both, a.labelNames},
		{"label/{name}/values", get, a.labelValues},
		{"metadata", get, a.metadata},
		{"status/buildinfo", get, a.buildInfo},
		{"status/runtimeinfo", get, a.runtimeInfo},
		{"status/flags", get, a.flags},
		{"status/config", get, a.config},
		{"status/tsdb", get, a.tsdb},
		{"rules", get, a.rules},
		{"alerts", get, a.alerts},
		{"targets", get, a.targets},
		{"targets/metadata", get, a.targetMetadata},
		{"scrape_pools", get, a.scrapePools},
		{"alertmanagers", get, a.alertmanagers},
	} {
		mux.Handle("/api/v1/"+r.path, a.wrap(r.path, r.methods, r.serve))
	}
	mux.Handle("/api/v1/", a.wrap("unknown", nil, a.unknown))
}
