package block

import (
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/hot"
)

// A Cache bounds the memory of what open blocks have decompressed. What a reader still holds when it is
// dropped stays valid.
type Cache struct {
	limit int64
	age   atomic.Uint32
	zstd  *zstd.Decoder // safe for concurrent use

	labels   *hot.Table[labels.Labels] // by a block's serial and the ordinal
	postings *hot.Table[postings]
	rows     *hot.Table[[]Row] // as labels

	mu    sync.Mutex // guards what follows, and the sizes of slots
	ring  []*slot
	hand  int
	bytes int64
}

const (
	defaultCache = 64 << 20 // of a cache that does not say its own limit
	hotLabels    = 1 << 20  // bytes of labels, beside the limit
	hotPostings  = 1 << 20  // of what matchers select
	hotRows      = 1 << 20  // and of rows
)

// NewCache returns a cache of at most so many bytes; 0 means 64 MiB.
func NewCache(bytes int64) *Cache {
	if bytes == 0 {
		bytes = defaultCache
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxPage))
	if err != nil {
		panic(err) // the options are constants
	}
	return &Cache{limit: bytes, zstd: d, labels: hot.NewTable[labels.Labels](12, hotLabels), postings: hot.NewTable[postings](8, hotPostings), rows: hot.NewTable[[]Row](12, hotRows)}
}

// Age tells that time has passed, about a second: what is read of mapped files after it is verified once more before it is believed.
func (c *Cache) Age() { c.age.Add(1) }

// Bytes is how much the cache holds.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// slot is a place for something decoded, which the cache may empty at any time.
type slot struct {
	value atomic.Pointer[decoded]
	used  atomic.Bool // since the hand was here
	mu    sync.Mutex  // held while decoding, so that it is done once
	size  int64       // in the ring with this size; 0: it is not
}

// decoded is what a slot holds: columns of fixed width, or a page of byte arrays.
type decoded struct {
	cols   [][]byte // by column, values as in a PLAIN page
	page   []byte
	ends   []uint32 // of a dictionary: where each entry of page ends
	places []uint32 // of a dictionary column: by row, the entry
}

func (d *decoded) size() int64 {
	n := int64(len(d.page)) + 4*int64(len(d.ends)+len(d.places)) + 128
	for _, c := range d.cols {
		n += int64(len(c))
	}
	return n
}

// get returns the slot's value, decoded anew when it is not there.
func (c *Cache) get(s *slot, decode func() (*decoded, error)) (*decoded, error) {
	if v := s.value.Load(); v != nil {
		if !s.used.Load() {
			s.used.Store(true)
		}
		return v, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.value.Load(); v != nil {
		return v, nil
	}
	v, err := decode()
	if err != nil {
		return nil, err
	}
	c.keep(s, v)
	return v, nil
}

// keep puts a value into a slot that is empty, and drops what has not been used for long (the clock algorithm).
func (c *Cache) keep(s *slot, v *decoded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.size = v.size()
	s.value.Store(v)
	c.ring = append(c.ring, s)
	c.bytes += s.size
	for c.bytes > c.limit && len(c.ring) > 1 {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		if o := c.ring[c.hand]; o == s || o.used.Swap(false) {
			c.hand++
			continue
		}
		c.drop(c.hand)
	}
}

// drop empties the slot at a place of the ring. The caller holds mu.
func (c *Cache) drop(i int) {
	s := c.ring[i]
	s.value.Store(nil)
	c.bytes -= s.size
	s.size = 0
	last := len(c.ring) - 1
	c.ring[i] = c.ring[last]
	c.ring[last] = nil
	c.ring = c.ring[:last]
}

// forget empties slots that nobody will read soon.
func (c *Cache) forget(gone map[*slot]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < len(c.ring); {
		if gone[c.ring[i]] {
			c.drop(i)
		} else {
			i++
		}
	}
}
