package cluster

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// Membership knows who is in the cluster.
type Membership interface {
	View() *shard.View // never nil
}

// Source answers from what this node has, for the partitions of shard.Only of the context that a call has.
type Source interface {
	storage.Queryable
	storage.ChunkQueryable
	storage.ExemplarQueryable
	Scan(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error)
	Aggregate(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (chunk.Stats, error)
	Metadata(yield func(series.Metadata) bool)
	// Digests are of the windows that overlap [mint, maxt] and are not empty, sorted.
	Digests(ctx context.Context, mint, maxt int64) ([]shard.Leaf, error)
}

// Selection is the series that matchers select, with what they have in a range of time, in no order. It is safe for
// concurrent use, and what it hands out lives until Close.
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

// ReaderOptions of a reader. The zero value is usable.
type ReaderOptions struct {
	DeviceLabel string               // the label that makes a shard key; "" means device_id
	Acks        func(owners int) int // how many owners have stored an acknowledged write; nil means a quorum
	Partial     bool                 // every query may be answered in part, as by AllowPartial
	MaxBytes    int64                // of other nodes' answers that one query may hold; 0 means 512 MiB

	// Hedge is the silence of a node after which another is asked as well; 0 means the larger of 50 ms and three
	// times the median.
	Hedge time.Duration

	// Fresh is how far back data counts as still changing: it is read from as many replicas as must be heard, while of older data
	// one replica is enough when the digests of the others are equal to its own. It is rounded up to a window. 0 means 3h.
	Fresh time.Duration

	// Differ is told of a window in which the replicas of some partitions were not equal. It must not block. nil: nobody is.
	Differ func(parts *shard.Set, window int64)

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
	Now        func() time.Time      // nil means time.Now
}

func (o ReaderOptions) withDefaults() ReaderOptions {
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.Acks == nil {
		o.Acks = func(owners int) int { return owners/2 + 1 }
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 512 << 20
	}
	if o.Fresh == 0 {
		o.Fresh = 3 * time.Hour
	}
	if o.Differ == nil {
		o.Differ = func(*shard.Set, int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Reader answers queries for the whole cluster. While this node is alone, each of its answers is the local one.
//
// Every partition is read from so many of its owners that one of them has each acknowledged sample, and what they
// answer is merged by the rule of package chunk.
type Reader struct {
	o       ReaderOptions
	local   Source
	members Membership
	client  *peer.Client
	m       *readMetrics
	pace    pace
}

// NewReader returns a reader.
func NewReader(local Source, members Membership, client *peer.Client, o ReaderOptions) *Reader {
	o = o.withDefaults()
	return &Reader{o: o, local: local, members: members, client: client, m: newReadMetrics(o.Registerer)}
}

// needed is how many owners must be heard to see every acknowledged write.
func (r *Reader) needed(owners int) int {
	return min(max(owners-r.o.Acks(owners)+1, 1), max(owners, 1))
}

// fresh is the start of the window from which on data counts as still changing, ms.
func (r *Reader) fresh() int64 {
	return shard.Window(r.o.Now().Add(-r.o.Fresh).UnixMilli())
}

// question is one query on its way through the cluster.
type question struct {
	r      *Reader
	v      *shard.View
	parts  *shard.Set // that are asked about
	budget *budget
	lost   *lost

	failed  [shard.MaxNodes]atomic.Pointer[error] // of nodes: those are not asked again
	opinion [shard.MaxNodes]atomic.Int32          // of nodes that may be silent
}

// fail notes that a node has failed.
func (q *question) fail(node int, err error) { q.failed[node].Store(&err) }

// failure is why a node has failed, nil when it has not.
func (q *question) failure(node int) error {
	if err := q.failed[node].Load(); err != nil {
		return *err
	}
	return nil
}

// up says whether a node can be asked.
func (q *question) up(n int) bool {
	return (n == q.v.Self || q.v.Members[n].Up) && q.failure(n) == nil
}

// restarts is how often a query begins again because the nodes know different rings.
const restarts = 3

// ask answers a query about some partitions by f. It begins again with a new view while nodes do not agree about the ring.
func ask[T any](ctx context.Context, r *Reader, parts *shard.Set, f func(ctx context.Context, q *question) (T, error)) (T, error) {
	for i := 0; ; i++ {
		v := r.members.View()
		q := &question{r: r, v: v, parts: parts, budget: &budget{max: r.o.MaxBytes}, lost: newLost(v, r.o.Partial || allowsPartial(ctx))}
		got, err := f(ctx, q)
		if !isStale(err) || i == restarts {
			q.lost.report(ctx)
			r.m.count(err, q.lost)
			return got, err
		}
		r.m.restarts.Inc()
		if err := r.awaitView(ctx, v, i); err != nil {
			return got, err
		}
	}
}

// awaitView waits a little, longer each time, unless the view has changed already.
func (r *Reader) awaitView(ctx context.Context, old *shard.View, again int) error {
	if r.members.View().Ring.Epoch() != old.Ring.Epoch() {
		return nil
	}
	t := time.NewTimer(50 * time.Millisecond << (2 * again))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// always is a time before all that is stored, and never one behind.
const (
	always = int64(math.MinInt64)
	never  = int64(math.MaxInt64)
)
