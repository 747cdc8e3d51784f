package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/hint"
	"github.com/minitrue/minitrue/shard/peer"
)

// Local is this node's own storage. Append has the semantics of the store's: when it returns nil, everything that it has not marked
// in the batch as rejected is durable.
type Local interface {
	Append(ctx context.Context, b *series.Batch) error
}

// Hints keep writes for nodes that missed them.
type Hints interface {
	Append(peer string, h hint.Hint) error
	Peers() []string
	Replay(ctx context.Context, peer string, send func(ctx context.Context, h hint.Hint) error) error
	Forget(peer string) error
}

// Decode reads the body of a write that another node sent. The batch lives until release is called. An error may have a method
// StatusCode, which says what to answer.
type Decode func(r *http.Request) (b *series.Batch, release func(), err error)

// Deleted takes out of a batch, or rejects in it, what was deleted after a time (Unix ms) at which it was written, and calls store for the
// rest. No delete is applied between the two: it would not see what is stored behind it.
type Deleted func(ctx context.Context, b *series.Batch, written int64, store func() error) error

// Live calls store for what was written at a time (Unix ms), unless something was deleted since: then done is false. No later delete is applied before
// store returns.
type Live func(ctx context.Context, written int64, store func() error) (done bool, err error)

// WriterOptions of a writer. The zero value is usable.
type WriterOptions struct {
	DeviceLabel string        // the label that makes a shard key; "" means device_id
	Limits      series.Limits // of labels, as those of Local
	Consistency Consistency   // until SetConsistency; 0 means Quorum
	PeerTimeout time.Duration // after which a node has failed; 0 means 5s
	MaxQueued   int64         // bytes under way to one node, and as many on their way into its hints; 0 means 64 MiB
	Parallel    int           // requests under way to one node; 0 means 32
	HintRate    int64         // bytes a second with which hints are replayed to one node; 0 means 16 MiB
	HintEvery   time.Duration // how often nodes that have hints are looked at; 0 means 1s

	// Decode and Deleted are for hints of partitions that have moved since: they are written anew. Without Decode they stay until
	// they are too old; without Deleted nothing was deleted.
	Decode  Decode
	Deleted Deleted
	Live    Live         // nil: nothing is deleted
	Newest  func() int64 // when the newest delete that this node knows was asked for, Unix ms: what is written from now on is later; nil: there is none

	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o WriterOptions) withDefaults() WriterOptions {
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.PeerTimeout == 0 {
		o.PeerTimeout = 5 * time.Second
	}
	if o.MaxQueued == 0 {
		o.MaxQueued = 64 << 20
	}
	if o.Parallel == 0 {
		o.Parallel = 32
	}
	if o.HintRate == 0 {
		o.HintRate = 16 << 20
	}
	if o.HintEvery == 0 {
		o.HintEvery = time.Second
	}
	if o.Live == nil {
		o.Live = func(_ context.Context, _ int64, store func() error) (bool, error) { return true, store() }
	}
	if o.Newest == nil {
		o.Newest = func() int64 { return math.MinInt64 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Writer gives batches to the nodes that keep their series. Its methods may be called from many goroutines.
type Writer struct {
	o       WriterOptions
	local   Local
	members Membership
	client  *peer.Client
	hints   Hints
	m       *writeMetrics

	consistency atomic.Int32
	routes      atomic.Pointer[routes] // of the ring that was seen last
	lanes       sync.Map               // node id → *lane
	joined      *batcher[*waiter]      // who appends

	ctx    context.Context // ends what is sent
	cancel context.CancelFunc
	sends  sync.WaitGroup
}

// NewWriter returns a writer.
func NewWriter(local Local, members Membership, client *peer.Client, hints Hints, o WriterOptions) *Writer {
	w := &Writer{o: o.withDefaults(), local: local, members: members, client: client, hints: hints, m: newWriteMetrics(o.Registerer)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.joined = w.newJoined()
	w.SetConsistency(o.Consistency)
	return w
}

// SetConsistency changes how many owners must have stored what is written from now on.
func (w *Writer) SetConsistency(c Consistency) { w.consistency.Store(int32(c)) }

// Consistency is what SetConsistency has set.
func (w *Writer) Consistency() Consistency { return Consistency(w.consistency.Load()) }

// Close waits for what is still being sent, which it ends when the context does. Nobody calls Append any more.
func (w *Writer) Close(ctx context.Context) {
	stop := context.AfterFunc(ctx, w.cancel)
	defer stop()
	w.sends.Wait()
	w.cancel()
}

// errMoved: a node refused a write since it knows another ring.
var errMoved = errors.New("the ring has changed")

// newsDelay is how long a new ring takes to reach all nodes, mostly less.
const newsDelay = 500 * time.Millisecond

// awaitRing waits until this node knows another ring, or until a node that is behind has had time to learn of this one's.
func (w *Writer) awaitRing(ctx context.Context, old uint64) error {
	const step = 10 * time.Millisecond
	for waited := time.Duration(0); waited < newsDelay && w.members.View().Ring.Epoch() == old; waited += step {
		if err := pause(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// errOvertaken: something was deleted here that is younger than the write. Others may have left out of it what that took.
var errOvertaken = errors.New("something was deleted meanwhile")

// late says of a write by the ring of a view whether that is another one by now, and the write has taken longer than nodes that take a partition over rely
// on: they may have copied it without the write.
func (w *Writer) late(v *shard.View, began time.Time) bool {
	return time.Since(began) > w.o.PeerTimeout && w.members.View().Ring.Epoch() != v.Ring.Epoch()
}

// Append stores a batch on the nodes that keep its series. When it returns nil, everything that is not counted in b.Rejected is durable
// on as many of them as the consistency asks for; the batch belongs to the caller again, and what
// is still sent is a copy. [series.ErrUnavailable] means that too few nodes have stored it, and names the others. Metadata goes to
// all nodes, and only this one's storage of it is waited for.
func (w *Writer) Append(ctx context.Context, b *series.Batch) error {
	if w.members.View().Alone() {
		return w.append(ctx, b, w.now())
	}
	err := w.join(ctx, b)
	if errors.Is(err, series.ErrUnavailable) {
		w.m.unavailable.Inc()
	}
	return err
}

// now is the origin of what is written now.
func (w *Writer) now() origin { return origin{at: max(w.o.Now().UnixMilli(), w.o.Newest()+1)} }

// origin says when something was written.
type origin struct {
	at     int64 // Unix ms, not later than when the first node began to store it: what is deleted from then on may be missing
	before bool  // it is a hint, or what is sent on of one: other nodes leave out what they know to be deleted since
}

// append is Append of what was written at some time.
func (w *Writer) append(ctx context.Context, b *series.Batch, written origin) error {
	for again := false; ; {
		v := w.members.View()
		if v.Alone() {
			began := time.Now()
			if err := w.local.Append(ctx, b); err != nil || !w.late(v, began) {
				return err
			}
			continue // others own it too by now
		}
		err := w.ship(ctx, v, b, written, !again)
		if errors.Is(err, errOvertaken) {
			w.m.restarts.Inc()
			written = w.now()
			continue
		}
		if errors.Is(err, errMoved) && !again {
			again = true
			w.m.restarts.Inc()
			if err := w.awaitRing(ctx, v.Ring.Epoch()); err != nil {
				return fmt.Errorf("append: %w", err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("append: %w", err)
		}
		return nil
	}
}
