package repair

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Store is what a node has, limited to the partitions of [shard.Only]. Digests stand for samples as queries read them: merged, and without
// what is deleted.
type Store interface {
	Digester
	Appender
	// Querier reads samples; matchers select among the series of the partitions of the context of its Select.
	Querier(mint, maxt int64) (storage.Querier, error)
	// Own says which partitions the node has to keep; nil means all. What is in no such partition may be dropped.
	Own(parts *shard.Set)
}

// Digester knows the digests of samples.
type Digester interface {
	// Digests returns those of the windows that overlap [mint, maxt] (ms) and have samples, sorted.
	Digests(ctx context.Context, mint, maxt int64) ([]shard.Leaf, error)
	// SeriesDigests returns those of the series that have samples in a window, by ID.
	SeriesDigests(ctx context.Context, window int64) ([]series.SeriesDigest, error)
}

// Appender stores durably what a peer sent.
type Appender interface {
	// AppendMissing may leave out of the batch what is here already: what differs is asked for by pieces and by series, of which most may be.
	AppendMissing(ctx context.Context, b *series.Batch) error
}

// Membership is what a node knows of its cluster, and how it finishes a change of its own: that of an epoch, which fails when the ring is
// another one by now.
type Membership interface {
	View() *shard.View
	Activate(ctx context.Context, epoch uint64) error // this node has copied what it will own
	Left(ctx context.Context, epoch uint64) error     // the others have what this node owned
}

// Exchange asks a peer for what [Repairer.Answer] answers there.
type Exchange interface {
	Ask(ctx context.Context, m shard.Member, q Question) (*Answer, error)
}

// Fetcher reads a peer's samples in [mint, maxt] (ms, inclusive) of some partitions and of those series (nil: all), whether the peer still
// owns the partitions or not. Batches are of bounded size, and each's until it returns.
type Fetcher interface {
	Fetch(ctx context.Context, m shard.Member, parts *shard.Set, ids []series.ID, mint, maxt int64, each func(*series.Batch) error) error
}

// Options of a repairer. The zero value is usable.
type Options struct {
	Interval time.Duration // between two comparisons with one peer; 0 means 10s
	Rate     int64         // bytes a second that are taken from peers, before compression; 0 means 8 MiB
	Settle   time.Duration // samples that are younger may be on their way; 0 means 30s
	Grace    time.Duration // how long a write may be under way; 0 means 6s
	HintWait time.Duration // how long hints for this node may take before it takes from peers what they would bring; 0 means 1m

	// Sources is of how many of its owners a partition must be copied, so that every acknowledged write is among
	// what they have; nil means for writes at quorum: 2 of 3.
	Sources func(owners int) int
	// Deletes is the digest of the delete records that this node has applied; nil means that there never are any.
	Deletes func() series.Digest
	// Oldest is the time (ms) before which retention may have dropped samples here; nil means that nothing is too old.
	Oldest func() int64
	// Hints says whether hints for a node wait here, which will be sent to it; nil means never.
	Hints func(node string) bool
	// Gained is told by every node that it has copied all that it gains in the change of an epoch which no node can end by itself: that
	// of the number of copies, and the leaving of a node that is down. nil means that there are no such changes.
	Gained func(ctx context.Context, epoch uint64) error

	// Raised names a decision by which writes are with more owners than before, when no write goes by the one before any more: each node takes
	// from the other owners what they have of its partitions, and tells Levelled. "" means that there is none. Until the decision has another
	// name, Sources is for writes before it. nil means that there are no such decisions.
	Raised   func() string
	Levelled func(ctx context.Context, decision string) error

	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o Options) withDefaults() Options {
	o.Interval = orDefault(o.Interval, 10*time.Second)
	o.Rate = orDefault(o.Rate, 8<<20)
	o.Settle = orDefault(o.Settle, 30*time.Second)
	o.Grace = orDefault(o.Grace, 6*time.Second)
	o.HintWait = orDefault(o.HintWait, time.Minute)
	if o.Sources == nil {
		o.Sources = func(owners int) int { return owners - owners/2 }
	}
	if o.Deletes == nil {
		o.Deletes = func() series.Digest { return series.Digest{} }
	}
	if o.Oldest == nil {
		o.Oldest = func() int64 { return math.MinInt64 }
	}
	if o.Hints == nil {
		o.Hints = func(string) bool { return false }
	}
	if o.Raised == nil {
		o.Raised = func() string { return "" }
	}
	if o.Levelled == nil {
		o.Levelled = func(context.Context, string) error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
