package series

import (
	"errors"
	"sort"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
)

// What an appender answers when it refuses a whole batch. A door maps them to
// its protocol: 503 with Retry-After, 429, or no PUBACK.
var (
	// ErrUnavailable: nothing is wrong with the batch, try again later. The
	// disk is full, say.
	ErrUnavailable = errors.New("writes are not possible at the moment")
	// ErrOverload: a limit on concurrent work is reached, try again later.
	ErrOverload = errors.New("too many writes at once")
	// ErrUnknownSeries: the batch names series by their IDs alone, and some of them are not active here. Nothing is
	// stored: send it with all keys.
	ErrUnknownSeries = errors.New("a series is not known by its id")
)

// Sample is a float value at a time in milliseconds since 1970.
type Sample struct {
	T int64
	V float64
}

// Histogram is a native histogram of one of a batch's series. Exactly one of
// Int and Float is set.
type Histogram struct {
	Series int // index in Batch.Series
	T      int64
	Int    *histogram.Histogram
	Float  *histogram.FloatHistogram
}

// Size is how many spans, buckets and bounds of buckets the histogram has.
func (h *Histogram) Size() int {
	if x := h.Int; x != nil {
		return len(x.PositiveSpans) + len(x.NegativeSpans) + len(x.PositiveBuckets) + len(x.NegativeBuckets) + len(x.CustomValues)
	}
	x := h.Float
	return len(x.PositiveSpans) + len(x.NegativeSpans) + len(x.PositiveBuckets) + len(x.NegativeBuckets) + len(x.CustomValues)
}

// Exemplar is an exemplar of one of a batch's series.
type Exemplar struct {
	Series int // index in Batch.Series
	exemplar.Exemplar
}

// Metadata describes a metric family.
type Metadata struct {
	Family string
	Type   model.MetricType
	Unit   string
	Help   string
}

// Entry is a series of a batch. Its float samples are
// Batch.Samples[First : First+Count].
type Entry struct {
	Key   []byte // canonical unless the sender was sloppy; see ParseKey
	First int
	Count int
	Bad   bool // rejected: nothing of this series is stored
}

// Batch is what one request, or some messages, ask to store. Histograms and
// Exemplars are in the order of their series. Its slices, and the bytes that Keys point
// to, belong to the caller again when the append has
// returned. The zero value is an empty batch; Reset makes it one again and keeps
// the memory.
type Batch struct {
	Series     []Entry
	Samples    []Sample
	Histograms []Histogram
	Exemplars  []Exemplar
	Metadata   []Metadata
	Rejected   Rejected

	// IDs are those of Series, in its order, if somebody has hashed the keys already; else it is empty. With it, a nil Key is that of a
	// series which must be active where the batch is stored.
	IDs []ID

	// Keep, where it is set, lets who appends the batch have Series, Samples and the bytes of Keys for longer than the append: they stay as
	// they are until release has been called, from any goroutine. A nil release means that there is no memory for that now.
	Keep func() (release func())

	parts []part // that were joined into the batch
}

// Rejected counts what of a batch cannot ever be stored, and why.
type Rejected struct {
	Samples    int // float samples
	Histograms int
	Exemplars  int
	Reasons    map[string]int // samples, histograms and exemplars by reason; nil when there are none
	Errs       []error        // the first few
}

const maxErrs = 5 // Rejected.Errs are for people, who read no more

// Any reports whether something was rejected.
func (r *Rejected) Any() bool { return r.Samples+r.Histograms+r.Exemplars > 0 || len(r.Reasons) > 0 }

// Count adds n samples, histograms or exemplars to those that were rejected for a reason. The
// caller counts them by kind.
func (r *Rejected) Count(reason string, n int, err error) {
	if r.Reasons == nil {
		r.Reasons = make(map[string]int)
	}
	r.Reasons[reason] += n
	if len(r.Errs) < maxErrs {
		r.Errs = append(r.Errs, err)
	}
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Series)
	clear(b.Histograms)
	clear(b.Exemplars)
	clear(b.Metadata)
	b.Series, b.Samples = b.Series[:0], b.Samples[:0]
	b.Histograms, b.Exemplars, b.Metadata, b.IDs = b.Histograms[:0], b.Exemplars[:0], b.Metadata[:0], b.IDs[:0]
	clear(b.parts)
	b.Rejected, b.parts = Rejected{}, b.parts[:0]
}

// Reject marks series i as one that cannot be stored, and counts its samples,
// histograms and exemplars. Rejecting a series twice counts once.
func (b *Batch) Reject(i int, reason string, err error) {
	e := &b.Series[i]
	if e.Bad {
		return
	}
	e.Bad = true
	h := countSorted(len(b.Histograms), i, func(j int) int { return b.Histograms[j].Series })
	x := countSorted(len(b.Exemplars), i, func(j int) int { return b.Exemplars[j].Series })
	b.Rejected.Samples += e.Count
	b.Rejected.Histograms += h
	b.Rejected.Exemplars += x
	b.Rejected.Count(reason, e.Count+h+x, err)
	if p := b.partOf(i); p != nil {
		p.of.Reject(i-p.first, reason, err)
	}
}

// countSorted counts the elements that are i, of n in ascending order.
func countSorted(n, i int, at func(j int) int) int {
	return sort.Search(n, func(j int) bool { return at(j) > i }) - sort.Search(n, func(j int) bool { return at(j) >= i })
}

// RejectSample counts one float sample that its door or the pipeline leaves out of the batch.
func (b *Batch) RejectSample(reason string, err error) {
	b.Rejected.Samples++
	b.Rejected.Count(reason, 1, err)
}

// RejectHistogram counts one histogram that is left out of the batch.
func (b *Batch) RejectHistogram(reason string, err error) {
	b.Rejected.Histograms++
	b.Rejected.Count(reason, 1, err)
}

// RejectExemplar counts one exemplar that is left out of the batch.
func (b *Batch) RejectExemplar(reason string, err error) {
	b.Rejected.Exemplars++
	b.Rejected.Count(reason, 1, err)
}
