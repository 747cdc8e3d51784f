package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/vector"
	"github.com/minitrue/minitrue/remote"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/cluster"
	"github.com/minitrue/minitrue/shard/gossip"
	"github.com/minitrue/minitrue/shard/hint"
	"github.com/minitrue/minitrue/shard/peer"
	"github.com/minitrue/minitrue/shard/repair"
)

// membership is this node's part in its cluster:
//
//	ingest ──▶ writer ─┬─▶ store ◀─┬─ reader ◀── promql, vector, aggregate, remote
//	             └─ hints ─▶ peers ◀─┘   │
//	gossip ──▶ view of all of them ◀── repair, deleter
//
// A node that is alone has the same parts, and they lead to its own store at once.
type membership struct {
	f        *flags
	log      *slog.Logger
	store    *store.Store
	gossip   *gossip.Cluster
	client   *peer.Client
	listener net.Listener // nil: no other node can join
	door     *peer.Server // what other nodes may ask; handlers are added before run
	server   *http.Server // on the listener, for the door
	hints    *hint.Store
	writer   *cluster.Writer
	held     held
	reader   *cluster.Reader
	deleter  *cluster.Deleter
	repair   *repair.Repairer
	current  chan struct{} // closed when this node knows what was decided while it was away
}

// source is the store as the cluster reads it.
type source struct{ *store.Store }

func (s source) Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (cluster.Selection, error) {
	sel, err := s.Store.Scan(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return sel, nil
}

// newMembership makes the parts and opens the port for peers.
func newMembership(f *flags, s *store.Store, log *slog.Logger, reg prometheus.Registerer) (m *membership, err error) {
	m = &membership{f: f, log: log, store: s, current: make(chan struct{})}
	reach := func(ctx context.Context, other shard.Member) error { return m.client.Hello(ctx, other) }
	if m.gossip, err = newGossip(f, reach, log, reg); err != nil {
		return nil, err
	}
	if m.hints, err = hint.Open(filepath.Join(f.DataDir, "hints"), hint.Options{MaxBytes: f.hintSize, Logger: log, Registerer: reg}); err != nil {
		return nil, err
	}
	if f.joinable {
		if m.listener, err = net.Listen("tcp", f.peerAddr()); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for other nodes: %w; choose another port with --peer-port", err), m.hints.Close())
		}
	}
	m.wire(s, reg)
	return m, nil
}

// newGossip reads what this node knows of its cluster. A node that once had others goes on with them, whatever its flags are.
func newGossip(f *flags, reach func(context.Context, shard.Member) error, log *slog.Logger, reg prometheus.Registerer) (*gossip.Cluster, error) {
	host := f.Advertise
	o := gossip.Options{
		Dir: f.DataDir, Name: f.NodeID, Seeds: f.Seeds, Secret: f.secret("gossip"), Zone: f.Zone, Weight: f.Weight,
		Observer: f.Mode == "query", Replaces: f.Replaces, Replication: f.Replication, Consistency: f.Consistency,
		Peer: net.JoinHostPort(host, strconv.Itoa(f.PeerPort)), HTTP: net.JoinHostPort(host, strconv.Itoa(f.Port)), Reach: reach, Logger: log,
	}
	if !f.joinable {
		before, err := gossip.New(o)
		if err != nil {
			return nil, err
		}
		f.joinable = len(before.View().Members) > 1
	}
	if f.joinable {
		o.Bind, o.Advertise = f.gossipAddr(), net.JoinHostPort(host, "0")
	}
	o.Registerer = reg
	return gossip.New(o)
}

// wire builds the graph of a node's part in its cluster.
func (m *membership) wire(s *store.Store, reg prometheus.Registerer) {
	f, log := m.f, m.log
	limits := series.Limits{Labels: f.config.Limits.Labels, Name: f.config.Limits.LabelNameBytes, Value: f.config.Limits.LabelValueBytes}
	deletes := func() uint64 { return m.deleter.Digest().Lo }
	m.client = peer.NewClient(peer.ClientOptions{
		Self: m.gossip.ID(), Secret: f.secret("peer"), TLS: f.tls, Epoch: m.epoch, Deletes: deletes, Logger: log, Registerer: reg,
	})
	m.deleter = cluster.NewDeleter(s, m.gossip, m.client, cluster.DeleterOptions{
		Apply: func(do func() error) error { return m.repair.Delete(do) }, Logger: log,
	})
	decoder := remote.NewDecoder(remote.WriteOptions{Logger: log})
	m.writer = cluster.NewWriter(s, m.gossip, m.client, m.hints, cluster.WriterOptions{
		DeviceLabel: f.DeviceLabel, Limits: limits, Decode: decoder.Decode, Deleted: m.deleter.Deleted, Live: m.deleter.Live, Newest: m.deleter.Newest,
		Logger: log, Registerer: reg,
	})
	m.takeOver(m.gossip.Level()) // before anything is let in
	m.reader = cluster.NewReader(source{s}, m.gossip, m.client, cluster.ReaderOptions{
		DeviceLabel: f.DeviceLabel, Acks: m.held.acks, Differ: func(parts *shard.Set, window int64) { m.repair.Repair(parts, window) },
		Logger: log, Registerer: reg,
	})
	m.repair = repair.New(s, m.gossip, repair.NewClient(m.client, reg), m.reader, repair.Options{
		Sources: m.held.sources,
		Deletes: m.deleter.Digest,
		Oldest:  func() int64 { return oldest(f.retention) },
		Gained:  m.gossip.Copied,
		Raised:  m.gossip.Raised, Levelled: m.gossip.Levelled,
		Logger: log, Registerer: reg,
	})

	m.door = peer.NewServer(peer.ServerOptions{Secret: f.secret("peer"), Epoch: m.epoch, Deletes: deletes, Logger: log, Registerer: reg})
	m.door.Handle("/peer/v1/write", m.once(cluster.NewAcceptHandler(s, decoder.Decode, m.gossip, cluster.AcceptOptions{
		DeviceLabel: f.DeviceLabel, Limits: limits, Deletes: m.deleter, Logger: log, Registerer: reg,
	})))
	answerer := vector.NewAnswerer(kept{s}, vector.AnswererOptions{
		MaxSamples: f.QueryMaxSamples, Concurrency: f.QueryConcurrency, Timeout: f.QueryTimeout, Logger: log,
	})
	cluster.NewReadHandlers(source{s}, m.gossip, cluster.AnswerOptions{DeviceLabel: f.DeviceLabel, Evaluate: answerer.Evaluate, Logger: log}).Register(m.door)
	m.deleter.Register(m.door)
	m.repair.Register(m.door)
	m.server = peerServer(m.door, bodyPatience)
}

// peerServer is the HTTP server of the port for other nodes.
func peerServer(door *peer.Server, patience time.Duration) *http.Server {
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			patient(w, r, patience)
			door.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: patience, IdleTimeout: 5 * time.Minute, ErrorLog: door.ErrorLog(),
	}
}

// oldest is the time (ms) before which samples may be dropped.
func oldest(retention time.Duration) int64 {
	if retention == 0 {
		return 0
	}
	return time.Now().Add(-retention).UnixMilli()
}

func (m *membership) epoch() uint64 { return m.gossip.View().Ring.Epoch() }

// run takes part in the cluster until ctx ends, or until this node must not.
func (m *membership) run(of context.Context) error {
	g, ctx := errgroup.WithContext(of)
	g.Go(func() error { return m.gossip.Run(ctx) })
	g.Go(func() error { return m.follow(ctx) })
	g.Go(func() error { return m.hints.Run(ctx) })
	g.Go(func() error { return m.writer.RunHints(ctx) })
	g.Go(func() error { return m.deleter.Run(ctx) })
	g.Go(func() error { return m.repair.Run(ctx) })
	g.Go(func() error { return m.catchUp(ctx) })
	if m.listener != nil {
		g.Go(m.serve)
		g.Go(func() error {
			<-ctx.Done()
			m.door.Close()
			return m.server.Close() // whoever waits for an answer asks another node
		})
	}
	err := g.Wait()
	if of.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (m *membership) serve() error {
	l := m.listener
	if m.f.tls != nil {
		l = tls.NewListener(l, m.f.tls)
	}
	err := m.server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve other nodes: %w", err)
}

// follow tells the others of what the cluster has decided.
func (m *membership) follow(ctx context.Context) error {
	for {
		changed := m.gossip.Changed()
		m.repair.Notify()
		level := m.gossip.Level()
		m.takeOver(level)
		if err := m.gossip.Applied(level.Version); err != nil {
			m.log.Warn("the others do not know that this node has taken the write consistency over", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// close lets go of what is open, after run has returned.
func (m *membership) close() error {
	m.client.Close()
	return m.hints.Close()
}
