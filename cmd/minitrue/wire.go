package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/chunk/wal"
	"github.com/minitrue/minitrue/ingest"
	"github.com/minitrue/minitrue/ingest/mqtt"
	"github.com/minitrue/minitrue/promql"
	"github.com/minitrue/minitrue/promql/admin"
	"github.com/minitrue/minitrue/promql/aggregate"
	"github.com/minitrue/minitrue/promql/vector"
	"github.com/minitrue/minitrue/remote"
	"github.com/minitrue/minitrue/shard/cluster"
	"github.com/minitrue/minitrue/shard/replicate"
)

// graph is everything that a node consists of once its store is open:
//
//	/api/v1/write ─▶ remote ─┐                          ┌─▶ other clusters
//	                         ├─▶ ingest.Pipeline ─▶ replicator ─▶ membership ◀─┬─ remote  ◀── /api/v1/read
//	MQTT ──▶ ingest/mqtt ────┘         └─▶ tap ──▶ /ws                 │       ├─ promql  ◀── /api/v1/query …
//	                └─▶ ring               ▲                           │       ├─ vector  ◀── of these, the common shapes
//	                     │                 ▼                           ▼       └─ aggregate ◀── /query, /delete
//	                     │         other nodes' taps         store, other nodes
//	                     └──▶ /api/v1/ingest/rejected
type graph struct {
	store  *store.Store
	nodes  *membership
	others *replicate.Replicator // stores in this cluster, and sends to others
	api    *promql.API
	tap    *ingest.Tap
	broker *mqtt.Broker // nil unless this node runs one
	client *mqtt.Client // nil unless this node reads another's
	mux    *http.ServeMux
}

func openStore(f *flags, log *slog.Logger, reg prometheus.Registerer) (*store.Store, error) {
	return store.Open(f.DataDir, store.Options{
		WAL:           wal.Options{Interval: f.walInterval},
		MemtableBytes: f.memtableSize,
		Retention:     f.retention,
		RetentionSize: f.retentionSize,
		Downsample:    f.downsample,
		MaxSeries:     f.MaxSeries,
		DeviceLabel:   f.DeviceLabel,
		Node:          f.NodeID,
		Limits:        series.Limits{Labels: f.config.Limits.Labels, Name: f.config.Limits.LabelNameBytes, Value: f.config.Limits.LabelValueBytes},
		Logger:        log,
		Registerer:    reg,
	})
}

func wire(f *flags, s *store.Store, nodes *membership, others *replicate.Replicator, log *slog.Logger, reg *prometheus.Registry, started time.Time) *graph {
	g := &graph{store: s, nodes: nodes, others: others, mux: http.NewServeMux()}
	nodes.register(g.mux)
	g.tap = ingest.NewTap(ingest.TapOptions{Members: nodes.gossip, Peers: nodes.client, Logger: log, Registerer: reg})
	g.tap.Register(nodes.door)
	g.mux.Handle("/ws", g.tap)
	if f.ingests() {
		g.wireIngest(f, log, reg)
	} else {
		g.mux.HandleFunc("/api/v1/write", nodes.refuseWrite)
	}
	if f.queries() {
		g.wireQueries(f, log, reg, started)
	}
	return g
}

func (g *graph) wireIngest(f *flags, log *slog.Logger, reg prometheus.Registerer) {
	pipeline := ingest.NewPipeline(g.others, ingest.Options{
		MaxFuture: f.MaxFuture, Retention: f.retention, Tap: g.tap, Logger: log, Registerer: reg,
	})
	ring := ingest.NewRing(ingest.RingOptions{Registerer: reg})
	g.mux.Handle("/api/v1/write", replicate.Accept(remote.NewWriteHandler(pipeline.Door("remote_write"), remote.WriteOptions{
		MaxBody: f.config.Limits.RequestBytes, Logger: log, Registry: reg,
	})))
	g.mux.Handle("/api/v1/ingest/rejected", ring)

	door := pipeline.Door("mqtt")
	m := f.config.MQTT
	switch {
	case f.Broker != "":
		id := m.Broker.ClientID
		if id == "" {
			id = "minitrue-" + f.NodeID
		}
		g.client = mqtt.NewClient(door, ring, mqtt.ClientOptions{
			URL: f.Broker, ID: id, Username: m.Broker.Username, Password: m.Broker.Password,
			Prefix: m.Prefix, DeviceLabel: f.DeviceLabel, Group: m.Broker.Group, Logger: log, Registerer: reg,
		})
	case f.MQTTListen != "none":
		var users []mqtt.User
		for _, u := range m.Users {
			users = append(users, mqtt.User{Name: u.Name, Hash: u.Hash, Publish: u.Publish, Subscribe: u.Subscribe})
		}
		g.broker = mqtt.NewBroker(door, ring, mqtt.BrokerOptions{
			Listen: f.MQTTListen, Users: users, Prefix: m.Prefix, DeviceLabel: f.DeviceLabel, PacketMax: f.config.Limits.PacketBytes,
			MaxConnections: f.config.Limits.Connections, Logger: log, Registerer: reg,
		})
	}
}

func (g *graph) wireQueries(f *flags, log *slog.Logger, reg prometheus.Registerer, started time.Time) {
	g.api = promql.NewAPI(promql.Options{
		Queryable: g.nodes.reader, Exemplars: g.nodes.reader, Metadata: g.nodes.reader,
		Timeout: f.QueryTimeout, Concurrency: f.QueryConcurrency, MaxSamples: f.QueryMaxSamples, Lookback: f.Lookback,
		Flags: f.given, Config: f.config.String(), Retention: f.Retention, Started: started,
		Build: promql.BuildInfo{Application: "MiniTrue " + buildVersion(), Version: promqlVersion()},
		TSDB:  g.tsdbStatus,
		Accelerate: func(below *prom.Engine) prom.QueryEngine {
			return vector.New(below, scanner{g.nodes.reader}, vector.Options{
				MaxSamples: f.QueryMaxSamples, Timeout: f.QueryTimeout, Scatter: g.nodes.reader, Logger: log, Registerer: reg,
			})
		},
		Logger: log, Registerer: reg,
	})
	g.api.Register(g.mux)
	g.mux.Handle("/api/v1/read", remote.NewReadHandler(g.nodes.reader, remote.ReadOptions{Logger: log, Registry: reg}))
	admin.NewHandler(administered{g.store, g.nodes.deleter}, admin.Options{Logger: log}).Register(g.mux)
	g.mux.Handle("/delete", aggregate.NewDeleteHandler(g.nodes.deleter, aggregate.Options{DeviceLabel: f.DeviceLabel, Timeout: f.QueryTimeout, Logger: log}))
	g.mux.Handle("/query", aggregate.NewHandler(g.nodes.reader, aggregate.Options{
		DeviceLabel: f.DeviceLabel, Timeout: f.QueryTimeout, Logger: log, Registerer: reg,
	}))
}

// scanner is the cluster as the vectorised path of PromQL reads it.
type scanner struct{ *cluster.Reader }

func (s scanner) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (vector.Selection, error) {
	sel, err := s.Reader.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

// kept is what this node has as the vectorised path reads it for other nodes.
type kept struct{ *store.Store }

func (k kept) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (vector.Selection, error) {
	sel, err := k.Store.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

// administered is the store to operators, who delete in the whole cluster.
type administered struct {
	*store.Store
	cluster *cluster.Deleter
}

func (a administered) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (int, error) {
	return a.cluster.Delete(ctx, mint, maxt, ms...)
}

// tsdbStatus puts what the store says of itself into Prometheus's words.
func (g *graph) tsdbStatus(limit int) promql.TSDBStatus {
	s := g.store.Status(limit)
	stats := func(cs []store.Count) []promql.Stat {
		out := make([]promql.Stat, len(cs))
		for i, c := range cs {
			out[i] = promql.Stat{Name: c.Name, Value: uint64(c.Value)}
		}
		return out
	}
	return promql.TSDBStatus{
		HeadStats:                   promql.HeadStats{NumSeries: uint64(s.Series), NumLabelPairs: s.LabelPairs, ChunkCount: s.Chunks, MinTime: s.MinTime, MaxTime: s.MaxTime},
		SeriesCountByMetricName:     stats(s.SeriesByMetric),
		LabelValueCountByLabelName:  stats(s.ValuesByLabel),
		MemoryInBytesByLabelName:    stats(s.BytesByLabel),
		SeriesCountByLabelValuePair: stats(s.SeriesByPair),
		Quarantine:                  s.Quarantine,
	}
}

// operators adds what operators ask, which is there from the first moment.
func operators(mux *http.ServeMux, reg *prometheus.Registry, ready func() bool) {
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("/-/healthy", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("MiniTrue is alive.\n")) })
	mux.HandleFunc("/-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			notReady(w)
			return
		}
		_, _ = w.Write([]byte("MiniTrue is ready.\n"))
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

func notReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "MiniTrue is replaying its log or shutting down; try again in a moment.", http.StatusServiceUnavailable)
}
