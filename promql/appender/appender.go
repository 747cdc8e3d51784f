package appender

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/minitrue/minitrue/chunk/series"
)

// Store is what is adapted. If it is a storage.ChunkQueryable or an io.Closer,
// so is what New returns in earnest.
type Store interface {
	Append(ctx context.Context, b *series.Batch) error
	storage.Queryable
}

// Storage is a Store as a storage.Storage.
type Storage struct{ Store }

var _ storage.Storage = Storage{}

// New adapts a store.
func New(s Store) Storage { return Storage{s} }

// ChunkQuerier is the store's, if it has one.
func (s Storage) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	if q, ok := s.Store.(storage.ChunkQueryable); ok {
		return q.ChunkQuerier(mint, maxt)
	}
	return nil, errors.New("the store has no chunk querier")
}

// StartTime is unknown.
func (s Storage) StartTime() (int64, error) { return 0, nil }

// Close closes the store, if it can be closed.
func (s Storage) Close() error {
	if c, ok := s.Store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Appender returns an appender of the older interface.
func (s Storage) Appender(ctx context.Context) storage.Appender {
	return oldAppender{s.collect(ctx)}
}

// AppenderV2 returns an appender.
func (s Storage) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &newAppender{s.collect(ctx)}
}

func (s Storage) collect(ctx context.Context) *collector {
	return &collector{ctx: ctx, store: s.Store, index: map[string]int{}}
}

// collector gathers samples by series until they are committed.
type collector struct {
	ctx   context.Context
	store Store
	index map[string]int // of series by key
	all   []collected
	meta  []series.Metadata
}

type collected struct {
	key        []byte
	samples    []series.Sample
	histograms []series.Histogram
	exemplars  []exemplar.Exemplar
}

// series finds or makes the entry of a label set. References are indices, plus one.
func (c *collector) series(ls labels.Labels) (*collected, storage.SeriesRef) {
	key := series.AppendKey(nil, ls)
	i, ok := c.index[string(key)]
	if !ok {
		i = len(c.all)
		c.index[string(key)] = i
		c.all = append(c.all, collected{key: key})
	}
	return &c.all[i], storage.SeriesRef(i + 1)
}

func (c *collector) float(ls labels.Labels, t int64, v float64) storage.SeriesRef {
	s, ref := c.series(ls)
	s.samples = append(s.samples, series.Sample{T: t, V: v})
	return ref
}

func (c *collector) histogram(ls labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) storage.SeriesRef {
	s, ref := c.series(ls)
	s.histograms = append(s.histograms, series.Histogram{T: t, Int: h, Float: fh})
	return ref
}

func (c *collector) exemplars(ls labels.Labels, xs ...exemplar.Exemplar) storage.SeriesRef {
	s, ref := c.series(ls)
	s.exemplars = append(s.exemplars, xs...)
	return ref
}

func (c *collector) metadata(family string, m metadata.Metadata) {
	if family != "" && m != (metadata.Metadata{}) {
		c.meta = append(c.meta, series.Metadata{Family: family, Type: m.Type, Unit: m.Unit, Help: m.Help})
	}
}

// Commit appends all as one batch. What the store rejects is an error.
func (c *collector) Commit() error {
	b := series.Batch{Metadata: c.meta}
	for i, s := range c.all {
		b.Series = append(b.Series, series.Entry{Key: s.key, First: len(b.Samples), Count: len(s.samples)})
		b.Samples = append(b.Samples, s.samples...)
		for _, h := range s.histograms {
			h.Series = i
			b.Histograms = append(b.Histograms, h)
		}
		for _, x := range s.exemplars {
			b.Exemplars = append(b.Exemplars, series.Exemplar{Series: i, Exemplar: x})
		}
	}
	if err := c.store.Append(c.ctx, &b); err != nil {
		return fmt.Errorf("append %d series: %w", len(b.Series), err)
	}
	if b.Rejected.Any() {
		return fmt.Errorf("append %d series: %d samples, %d histograms and %d exemplars were rejected: %w",
			len(b.Series), b.Rejected.Samples, b.Rejected.Histograms, b.Rejected.Exemplars, errors.Join(b.Rejected.Errs...))
	}
	return nil
}

// Rollback forgets all.
func (c *collector) Rollback() error { return nil }

type newAppender struct{ *collector }

// Append keeps everything but the start timestamp, which series.Batch does not have.
func (a *newAppender) Append(_ storage.SeriesRef, ls labels.Labels, _, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AppendV2Options) (storage.SeriesRef, error) {
	var ref storage.SeriesRef
	if h != nil || fh != nil {
		ref = a.histogram(ls, t, h, fh)
	} else {
		ref = a.float(ls, t, v)
	}
	a.exemplars(ls, o.Exemplars...)
	a.metadata(o.MetricFamilyName, o.Metadata)
	return ref, nil
}

type oldAppender struct{ *collector }

func (a oldAppender) SetOptions(*storage.AppendOptions) {}

func (a oldAppender) Append(_ storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	return a.float(ls, t, v), nil
}

func (a oldAppender) AppendHistogram(_ storage.SeriesRef, ls labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return a.histogram(ls, t, h, fh), nil
}

func (a oldAppender) AppendExemplar(_ storage.SeriesRef, ls labels.Labels, x exemplar.Exemplar) (storage.SeriesRef, error) {
	return a.exemplars(ls, x), nil
}

func (a oldAppender) UpdateMetadata(_ storage.SeriesRef, ls labels.Labels, m metadata.Metadata) (storage.SeriesRef, error) {
	a.metadata(ls.Get(model.MetricNameLabel), m)
	return 0, nil
}

// AppendSTZeroSample does nothing: start timestamps are not stored.
func (a oldAppender) AppendSTZeroSample(ref storage.SeriesRef, _ labels.Labels, _, _ int64) (storage.SeriesRef, error) {
	return ref, nil
}

func (a oldAppender) AppendHistogramSTZeroSample(ref storage.SeriesRef, _ labels.Labels, _, _ int64, _ *histogram.Histogram, _ *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return ref, nil
}
