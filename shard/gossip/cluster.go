package gossip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// Cluster is a node's part in its cluster. Its methods may be called from any goroutine. Those that change something return when
// the change is on the disk here; the others hear of it within a moment.
type Cluster struct {
	o       Options
	log     *slog.Logger
	metrics *metrics
	run     run

	ml      atomic.Pointer[memberlist.Memberlist] // nil until Run has begun
	at      atomic.Pointer[string]                // host:port with an IP, where the others reach this node
	view    atomic.Pointer[shard.View]
	root    atomic.Pointer[series.Digest]
	cluster atomic.Pointer[string] // UUID; "" before there is one
	members members
	queue   *memberlist.TransmitLimitedQueue
	inbox   chan []byte
	joining atomic.Int32  // attempts to join that are under way
	asked   atomic.Bool   // all addresses at which nodes should be were tried
	synced  atomic.Bool   // another node had the same records, or there is none
	agreed  chan struct{} // see Agreed
	settled atomic.Bool   // no other run of this node is known, and the others know this one
	health  chan struct{} // a member came or went
	fatal   chan error    // why Run must end

	mu       sync.Mutex // guards what follows; nobody holds it while he waits for the disk or for memberlist
	identity identity
	set      *merkle.Set
	up       map[string]bool      // other nodes, by ID
	changed  chan struct{}        // closed when the view changes
	warned   map[string]bool      // warnings that were logged and still hold
	offered  map[string]time.Time // when members were last offered records
	same     map[string]bool      // other nodes, by ID, that had the same records since this one began

	saveMu        sync.Mutex // guards what follows; taken before mu
	savedRoot     series.Digest
	savedIdentity identity
}

// Errors with which a node's part in its cluster ends.
var (
	ErrRemoved   = errors.New("this node was taken out of its cluster; to join again start it with an empty data folder")
	ErrDuplicate = errors.New("this node runs elsewhere already: a data folder belongs to one node, and another one starts with an empty folder")
)

// New reads what a node knew when it stopped, or begins. A node without seeds is then the first of a cluster and active. One with seeds is
// in no view until Run has reached a node.
func New(o Options) (*Cluster, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	id, err := readIdentity(o)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	set, err := readRecords(o, id.ID)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c := &Cluster{
		o: o, identity: id, savedIdentity: id, set: merkle.NewSet(id.ID), metrics: newMetrics(o.Registerer),
		up: map[string]bool{}, changed: make(chan struct{}), agreed: make(chan struct{}), warned: map[string]bool{}, offered: map[string]time.Time{}, same: map[string]bool{},
		inbox: make(chan []byte, 256), health: make(chan struct{}, 1), fatal: make(chan error, 1),
	}
	c.log = o.Logger
	c.queue = &memberlist.TransmitLimitedQueue{RetransmitMult: 4, NumNodes: c.members.count}
	if c.run, err = newRun(o.Now()); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if set != nil && id.Cluster != "" {
		c.set, c.savedRoot = set, set.Root()
	}
	if err := c.begin(set != nil); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

// begin decides what a node is when it starts.
func (c *Cluster) begin(records bool) error {
	cluster := c.identity.Cluster
	c.cluster.Store(&cluster)
	self, known := c.set.Record(nodePrefix + c.identity.ID)
	switch {
	case c.identity.Cluster == "" && len(c.o.Seeds) == 0:
		return c.found()
	case known && self.Value == nil:
		return ErrRemoved
	case c.identity.Cluster != "" && !records && len(c.o.Seeds) == 0:
		return fmt.Errorf("%s is missing: start with --seeds, so that it is fetched from another node", recordsFile)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.publish()
}

// found makes a cluster of which this node is the first.
func (c *Cluster) found() error {
	cluster, err := newUUID()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.identity.Cluster = cluster
	c.cluster.Store(&cluster)
	n := c.newcomer(shard.Active)
	_, err = c.put(nodePrefix+n.ID, n)
	if err == nil {
		_, err = c.put(addrPrefix+n.ID, c.address())
	}
	for name, value := range map[string]string{settingReplication: fmt.Sprint(c.o.Replication), settingConsistency: c.o.Consistency} {
		if err == nil {
			_, err = c.set.Put(c.now(), settingPrefix+name, []byte(value))
		}
	}
	if err == nil {
		_, err = c.hold(c.o.Consistency, "")
	}
	if err == nil {
		err = c.publish()
	}
	c.mu.Unlock()
	c.settled.Store(true)
	if err != nil {
		return err
	}
	c.log.Info("a new cluster begins", "cluster", cluster)
	return c.save()
}

func (c *Cluster) now() int64 { return c.o.Now().UnixMilli() }

// put writes a record as JSON. The caller holds mu.
func (c *Cluster) put(key string, v any) (merkle.Record, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return merkle.Record{}, err
	}
	return c.set.Put(c.now(), key, b)
}

// ID is the UUID of this node.
func (c *Cluster) ID() string { return c.identity.ID }

// ClusterID is the UUID of its cluster, "" while it has reached none.
func (c *Cluster) ClusterID() string { return *c.cluster.Load() }

// update changes records: f writes some and returns them. They are on the disk here when it returns, and on their way to the others.
func (c *Cluster) update(what string, f func() ([]merkle.Record, error)) error {
	c.mu.Lock()
	records, err := f()
	if len(records) > 0 {
		err = errors.Join(err, c.publish())
	}
	c.mu.Unlock()
	c.broadcast(records)
	if len(records) > 0 {
		c.metrics.changes.Add(float64(len(records)))
		err = errors.Join(err, c.save())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// merge takes records of a peer in.
func (c *Cluster) merge(records []merkle.Record, peer string) {
	err := c.update("take in records", func() ([]merkle.Record, error) { return c.set.Merge(c.now(), c.unswept(records)) })
	if err != nil {
		c.log.Error("records of the cluster", "peer", peer, "err", err)
	}
}

// Run takes part in the cluster until ctx is done, and then says goodbye. It ends before with [ErrRemoved] or [ErrDuplicate], or
// when it cannot listen.
func (c *Cluster) Run(ctx context.Context) error {
	if c.o.lonely() {
		return c.alone(ctx)
	}
	config, err := c.config()
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	ml, err := memberlist.Create(config)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	at := ml.LocalNode().Address()
	c.at.Store(&at)
	c.ml.Store(ml)
	c.log.Info("listening for gossip", "address", at, "id", c.identity.ID, "encrypted", len(c.o.Secret) > 0)
	if err := c.takeIn(ctx, ml); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// takeIn runs all that a member does.
func (c *Cluster) takeIn(ctx context.Context, ml *memberlist.Memberlist) error {
	ctx, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	for _, f := range []func(context.Context){c.receive, c.watchHealth, c.settle, c.catchUp, c.compare, c.rejoin} {
		work.Go(func() { f(ctx) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-c.fatal:
	}
	stop()
	work.Wait()
	if errors.Is(err, ErrRemoved) {
		c.farewell()
	}
	if err := ml.Leave(c.o.Probe); err != nil { // so that nobody needs to find out
		c.log.Debug("nobody heard the goodbye", "err", err)
	}
	return errors.Join(err, ml.Shutdown())
}

// alone is Run for a node that has no others.
func (c *Cluster) alone(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-c.fatal:
		return fmt.Errorf("cluster: %w", err)
	}
}
