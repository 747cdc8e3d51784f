package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// scanned is what another node has answered to a scan. Its bytes are its own.
type scanned struct {
	coarse bool
	keys   [][]byte
	ids    []series.ID
	ends   []int // of the chunks of each series
	chunks []chunk.Chunk
	sums   []chunk.Stats // with a cut: of the samples of each series before it

	budget *budget
	taken  int64
}

// What a series and a chunk take beside their bytes.
const (
	seriesBytes = 80 // its place in a map too
	chunkBytes  = int64(unsafe.Sizeof(chunk.Chunk{}))
)

// chunksOf are the chunks of series i, disjoint and in time order.
func (s *scanned) chunksOf(i int) []chunk.Chunk {
	from := 0
	if i > 0 {
		from = s.ends[i-1]
	}
	return s.chunks[from:s.ends[i]:s.ends[i]]
}

func (s *scanned) labels(i int, b *labels.ScratchBuilder) labels.Labels {
	return labelsOf(s.keys[i], b)
}

func (s *scanned) appendValues(dst []byte, i int, names ...string) []byte {
	for _, want := range names {
		_ = series.EachLabel(s.keys[i], func(name, value string) {
			if name == want {
				dst = append(dst, value...)
			}
		})
		dst = append(dst, 0xff)
	}
	return dst
}

// drop gives the memory back to the budget.
func (s *scanned) drop() {
	s.budget.give(s.taken)
	s.taken = 0
}

// scanReader reads the frames of an answer to a scan. Nothing of them is believed.
type scanReader struct {
	*scanned
	parts  *shard.Set // in which its series must lie
	device string     // the label of devices
	begun  bool
	known  map[series.ID]struct{}
	more   bool // the last series goes on
}

func newScanReader(b *budget, parts *shard.Set, device string) *scanReader {
	return &scanReader{scanned: &scanned{budget: b}, parts: parts, device: device, known: map[series.ID]struct{}{}}
}

var (
	errHead  = errors.New("the head of a scan is malformed")
	errEntry = errors.New("a series of a scan is malformed")
)

// frame takes in a frame, whose bytes stay the caller's.
func (r *scanReader) frame(payload []byte) error {
	if !r.begun {
		if len(payload) != 2 || payload[0] != scanFormat || payload[1]&^(headCoarse|headSums) != 0 {
			return errHead
		}
		r.begun, r.coarse = true, payload[1]&headCoarse != 0
		if payload[1]&headSums != 0 {
			r.sums = []chunk.Stats{}
		}
		return nil
	}
	if err := r.take(int64(len(payload))); err != nil {
		return err
	}
	u := unpacker{b: bytes.Clone(payload)}
	for len(u.b) > 0 {
		if err := r.entry(&u); err != nil {
			return err
		}
	}
	return nil
}

func (r *scanReader) take(n int64) error {
	r.taken += n
	return r.budget.take(n)
}

// end says whether the stream may end here.
func (r *scanReader) end() error {
	if !r.begun || r.more {
		return errEntry
	}
	return nil
}

// reset forgets what came, but for the series that goes on.
func (r *scanReader) reset() {
	n := len(r.keys)
	if r.more {
		n--
	}
	r.keys, r.ids = append(r.keys[:0], r.keys[n:]...), append(r.ids[:0], r.ids[n:]...)
	clear(r.known)
	clear(r.chunks)
	r.chunks, r.ends = r.chunks[:0], make([]int, len(r.keys))
	r.drop()
}

func (r *scanReader) entry(u *unpacker) error {
	key := u.bytes()
	n := len(r.keys)
	switch {
	case u.bad:
		return errEntry
	case r.more && !bytes.Equal(key, r.keys[n-1]):
		return errEntry
	case !r.more:
		if err := r.begin(key); err != nil {
			return err
		}
		n++
	}
	if r.sums != nil {
		if err := r.sum(u); err != nil {
			return err
		}
	}
	for {
		switch e := u.byte(); {
		case u.bad:
			return errEntry
		case e == entryEnd, e == entryMore:
			r.more = e == entryMore
			r.ends[n-1] = len(r.chunks)
			return nil
		default:
			if err := r.chunk(u, chunk.Encoding(e)); err != nil {
				return fmt.Errorf("%w: %w", errEntry, err)
			}
		}
	}
}

// begin begins a series.
func (r *scanReader) begin(key []byte) error {
	id, err := checkKey(key, r.parts, r.device)
	if err != nil {
		return err
	}
	if _, twice := r.known[id]; twice {
		return fmt.Errorf("%w: it is there twice", errEntry)
	}
	size := int64(seriesBytes)
	if r.sums != nil {
		size += int64(unsafe.Sizeof(chunk.Stats{}))
	}
	if err := r.take(size); err != nil {
		return err
	}
	r.known[id] = struct{}{}
	r.keys, r.ids, r.ends = append(r.keys, key), append(r.ids, id), append(r.ends, len(r.chunks))
	return nil
}

// anyLabels are limits far above what a node may have been told to accept.
var anyLabels = series.Limits{Labels: 1 << 16, Name: 1 << 24, Value: 1 << 24}

// checkKey returns the id of a series that is asked about.
func checkKey(key []byte, parts *shard.Set, device string) (series.ID, error) {
	if canonical, err := series.CheckKey(key, anyLabels); err != nil || !canonical {
		return series.ID{}, fmt.Errorf("the key of a series is malformed: %w", errors.Join(err, errEntry))
	}
	if p := shard.PartitionOfKey(key, device); !parts.Has(p) {
		return series.ID{}, fmt.Errorf("%w: it lies in partition %d, which was not asked for", errEntry, p)
	}
	return series.HashKey(key), nil
}

func (r *scanReader) sum(u *unpacker) error {
	s, rest, err := chunk.StatsFromBytes(u.b)
	if err != nil {
		return err
	}
	u.b = rest
	if !r.more {
		r.sums = append(r.sums, s)
	}
	return nil
}

func (r *scanReader) chunk(u *unpacker, e chunk.Encoding) error {
	if err := r.take(chunkBytes); err != nil {
		return err
	}
	c := chunk.Chunk{Encoding: e}
	var err error
	if c.Stats, u.b, err = chunk.StatsFromBytes(u.b); err != nil {
		return err
	}
	if e != chunk.Downsampled {
		c.Times, c.Data = u.bytes(), u.bytes()
	}
	from := 0
	if n := len(r.keys); n > 1 {
		from = r.ends[n-2]
	}
	n := len(r.chunks)
	switch {
	case u.bad:
		return errors.New("a chunk is cut short")
	case c.Samples == 0:
		return errors.New("a chunk is empty")
	case n > from && r.chunks[n-1].MaxTime >= c.MinTime:
		return errors.New("chunks overlap")
	}
	if err := checkChunk(&c); err != nil {
		return err
	}
	r.chunks = append(r.chunks, c)
	return nil
}

// checkChunk refuses what would take more memory to decode than its bytes account for. The decoders find the rest.
func checkChunk(c *chunk.Chunk) error {
	switch c.Encoding {
	case chunk.XOR, chunk.Dense, chunk.Downsampled:
		return nil
	case chunk.Histogram, chunk.FloatHistogram:
	default:
		return fmt.Errorf("unknown %v", c.Encoding)
	}
	buckets, err := bucketsOf(c.Data)
	if err == nil && buckets > 8*uint64(len(c.Data)) { // each takes a bit
		err = errors.New("a histogram has more buckets than bytes")
	}
	return err
}
