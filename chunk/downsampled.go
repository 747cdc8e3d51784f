package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// maxBuckets is how many buckets a Downsampled chunk holds at most.
const maxBuckets = 512

// A bucket is written as these columns beside its number.
const bucketColumns = 10

// fields returns the numbers of a bucket that ends at end, in the order of the columns. Times are before the end, and
// less than 2⁵³: so each is a float that holds them exactly.
func (s *Stats) fields(end int64) [bucketColumns]float64 {
	return [bucketColumns]float64{
		float64(end - s.MinTime), float64(end - s.MaxTime), float64(s.Samples), float64(s.Stale),
		s.Total(), s.Min, s.Max, s.First, s.Last, s.Increase,
	}
}

func (s *Stats) setFields(end int64, f *[bucketColumns]float64) bool {
	*s = Stats{
		MinTime: end - int64(f[0]), MaxTime: end - int64(f[1]), Samples: uint64(f[2]), Stale: uint64(f[3]),
		Sum: f[4], Min: f[5], Max: f[6], First: f[7], Last: f[8], Increase: f[9],
	}
	for _, x := range f[:4] {
		if !(x >= 0 && x < 1<<53) { // NaN too
			return false
		}
	}
	return f[0] >= f[1] && s.Samples > 0 && s.Stale <= s.Samples
}

// EncodeBuckets appends buckets of one series, ascending, to dst as Downsampled chunks. The data is newly allocated.
func EncodeBuckets(dst []Chunk, buckets []Stats, resolution int64) []Chunk {
	for len(buckets) > 0 {
		n := min(len(buckets), maxBuckets)
		dst = append(dst, encodeBuckets(buckets[:n], resolution))
		buckets = buckets[n:]
	}
	return dst
}

func encodeBuckets(buckets []Stats, resolution int64) Chunk {
	c := Chunk{Stats: NoStats(), Encoding: Downsampled}
	n := len(buckets)
	ends := make([]int64, n)
	columns := make([]float64, bucketColumns*n)
	for i := range buckets {
		c.Add(buckets[i])
		ends[i] = BucketEnd(buckets[i].MaxTime, resolution)
		for j, x := range buckets[i].fields(ends[i]) {
			columns[j*n+i] = x
		}
	}
	c.Data = binary.AppendUvarint(c.Data, uint64(resolution))
	c.Data = binary.AppendUvarint(c.Data, uint64(n))
	c.Data = binary.AppendVarint(c.Data, ends[0])
	var enc denseEncoder
	for j := range bucketColumns {
		column, _ := enc.encode(nil, ends, columns[j*n:(j+1)*n])
		c.Times = column.Times
		c.Data = binary.LittleEndian.AppendUint64(c.Data, math.Float64bits(column.First))
		c.Data = binary.AppendUvarint(c.Data, uint64(len(column.Data)))
		c.Data = append(c.Data, column.Data...)
	}
	return c
}

var errBuckets = errors.New("decode downsampled chunk: its bytes are broken")

// AppendBuckets appends the statistics of the buckets of a Downsampled chunk to dst.
func (c Chunk) AppendBuckets(dst []Stats) ([]Stats, error) {
	if c.Encoding != Downsampled {
		return nil, fmt.Errorf("decode chunk: %v has no buckets", c.Encoding)
	}
	r := bucketReader{b: c.Data}
	resolution, n, first := r.uvarint(), r.uvarint(), r.varint()
	if r.bad || resolution == 0 || resolution > math.MaxInt64 || n == 0 || n > maxBuckets {
		return nil, errBuckets
	}
	from := len(dst)
	var ends []int64
	columns := make([]float64, 0, bucketColumns*n)
	for range bucketColumns {
		cols := Columns{V: columns}
		column := Chunk{Encoding: Dense, Times: c.Times}
		column.MinTime, column.Samples, column.MaxTime = first, n, BucketEnd(c.MaxTime, int64(resolution))
		column.First = math.Float64frombits(r.uint64())
		column.Data = r.bytes(r.uvarint())
		if r.bad || column.AppendTo(&cols) != nil {
			return nil, errBuckets
		}
		ends, columns = cols.T, cols.V
	}
	if len(r.b) > 0 {
		return nil, errBuckets
	}
	last := int64(math.MinInt64)
	for i := range ends {
		var f [bucketColumns]float64
		for j := range f {
			f[j] = columns[j*len(ends)+i]
		}
		var s Stats
		if !s.setFields(ends[i], &f) || i > 0 && s.MinTime <= last {
			return nil, errBuckets
		}
		last = s.MaxTime
		dst = append(dst, s)
	}
	if dst[from].MinTime != c.MinTime || last != c.MaxTime {
		return nil, errBuckets
	}
	return dst, nil
}

// resolution is the length of a Downsampled chunk's buckets, ms.
func (c *Chunk) resolution() int64 {
	n, _ := binary.Uvarint(c.Data)
	return int64(n)
}

// appendLast appends the last sample of each bucket to dst.
func (c *Chunk) appendLast(dst *Columns) error {
	buckets, err := c.AppendBuckets(nil)
	for i := range buckets {
		if s := &buckets[i]; s.Count() > 0 {
			dst.T, dst.V = append(dst.T, s.MaxTime), append(dst.V, s.Last)
		}
	}
	return err
}

// bucketReader takes bytes from the front of b; after the first that is missing, bad is set.
type bucketReader struct {
	b   []byte
	bad bool
}

func (r *bucketReader) take(n int) {
	if n <= 0 {
		r.bad = true
		return
	}
	r.b = r.b[n:]
}

func (r *bucketReader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	r.take(n)
	return x
}

func (r *bucketReader) varint() int64 {
	x, n := binary.Varint(r.b)
	r.take(n)
	return x
}

func (r *bucketReader) uint64() uint64 {
	if len(r.b) < 8 {
		r.bad = true
		return 0
	}
	x := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return x
}

func (r *bucketReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}
