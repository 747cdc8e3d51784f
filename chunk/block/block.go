package block

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/minitrue/minitrue/chunk/disk"
)

// Options are for Open. The zero value is usable.
type Options struct {
	FS       disk.FS      // nil means disk.OS
	Logger   *slog.Logger // nil means none
	ReadOnly bool         // a damaged or missing index is an error instead of being made anew
	Cache    *Cache       // of what is decompressed, shared by many blocks; nil means one of the block's own
}

// Block is an open block. Its methods are safe for concurrent use while the
// caller holds a reference.
type Block struct {
	dir    string
	fs     disk.FS
	meta   Meta
	log    *slog.Logger
	ro     bool // nothing is written
	cache  *Cache
	rows   *columns
	series *columns
	index  *index
	ids    []slot   // by idsEvery series
	maps   [][]byte // to be unmapped

	digests slot // Digests.raw

	serial uint64 // of this open block

	refs   atomic.Int64
	closed atomic.Bool // the owner's reference is gone

	reindexed bool // the index was made anew
}

var serials atomic.Uint64

// number is one that nothing else has while the process lives but the row or the series i of this open block.
func (b *Block) number(i uint32) uint64 { return b.serial<<32 | uint64(i) }

// Open opens the block in a folder. It verifies the index, the ids and what says where things are, not the
// chunks. A damaged or missing index is made anew. Damage of anything else is a [*CorruptError].
func Open(dir string, o Options) (*Block, error) {
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Cache == nil {
		o.Cache = NewCache(0)
	}
	b := &Block{dir: dir, fs: o.FS, log: o.Logger, ro: o.ReadOnly, cache: o.Cache, serial: serials.Add(1)}
	b.refs.Store(1)
	if err := b.open(); err != nil {
		b.unmap()
		return nil, fmt.Errorf("open block: %w", err)
	}
	return b, nil
}

func (b *Block) corrupt(file string, err error) error {
	return &CorruptError{Block: b.dir, File: file, Offset: -1, Err: err}
}

func (b *Block) open() (err error) {
	raw, err := os.ReadFile(filepath.Join(b.dir, MetaFile))
	if err != nil {
		return b.corrupt(MetaFile, err)
	}
	if b.meta, err = decodeMeta(raw); err != nil {
		return b.corrupt(MetaFile, err)
	}
	if name := filepath.Base(b.dir); name != b.meta.ULID.String() {
		return b.corrupt(MetaFile, fmt.Errorf("it is of block %s", b.meta.ULID))
	}
	_, cols := chunkSchema()
	if b.rows, err = b.openColumns(ChunksFile, cols, colTimes, chunkColumns-colTimes, b.meta.Chunks); err != nil {
		return err
	}
	_, cols = seriesSchema()
	if b.series, err = b.openColumns(SeriesFile, cols, serMetric, 0, b.meta.Series); err != nil {
		return err
	}
	if err := b.openIndex(); err != nil {
		return err
	}
	b.ids = make([]slot, (b.index.series+idsEvery-1)/idsEvery)
	b.forget()
	return nil
}

// openColumns maps a Parquet file and reads its footer.
func (b *Block) openColumns(name string, cols []column, fixed, pages int, rows uint64) (*columns, error) {
	data, err := b.mapped(name)
	if err != nil {
		return nil, b.corrupt(name, err)
	}
	want := b.meta.Files[name]
	if int64(len(data)) != want.Size {
		return nil, b.corrupt(name, fmt.Errorf("it has %d bytes, want %d", len(data), want.Size))
	}
	c := &columns{dir: b.dir, name: name, data: data, cols: cols, fixed: fixed, pages: pages, cache: b.cache}
	if err := c.open(want.Footer); err != nil {
		return nil, err
	}
	if c.rows != rows {
		return nil, b.corrupt(name, fmt.Errorf("it has %d rows, want %d", c.rows, rows))
	}
	return c, nil
}

func (b *Block) mapped(name string) ([]byte, error) {
	data, err := mapFile(filepath.Join(b.dir, name))
	if err == nil {
		b.maps = append(b.maps, data)
	}
	return data, err
}

func (b *Block) openIndex() error {
	data, err := b.mapped(IndexFile)
	if err == nil {
		if b.index, err = openIndex(data, b.meta.ULID, b.meta.Series, b.meta.Chunks, &b.cache.age); err == nil {
			return nil
		}
	}
	if b.ro {
		return b.corrupt(IndexFile, err)
	}
	b.log.Warn("The index of a block is missing or damaged and is made anew.", "block", b.meta.ULID, "path", filepath.Join(b.dir, IndexFile), "err", err)
	data, err = b.rebuildIndex()
	if err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	if b.index, err = openIndex(data, b.meta.ULID, b.meta.Series, b.meta.Chunks, &b.cache.age); err != nil {
		return b.corrupt(IndexFile, fmt.Errorf("rebuild: %w", err))
	}
	b.reindexed = true
	if err := b.storeIndex(data); err != nil {
		// Full or read-only: the block serves from memory.
		b.log.Warn("The new index of a block cannot be stored.", "block", b.meta.ULID, "err", err)
	}
	return nil
}

// Meta returns what the block is.
func (b *Block) Meta() Meta { return b.meta }

// Reindexed tells whether the index was missing or damaged when the block was opened, and was made anew.
func (b *Block) Reindexed() bool { return b.reindexed }

// Dir returns the block's folder.
func (b *Block) Dir() string { return b.dir }

// Retain adds a reference. It returns false, and adds none, when the last is gone.
func (b *Block) Retain() bool {
	for {
		n := b.refs.Load()
		if n <= 0 {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release drops a reference. With the last one the files are unmapped.
func (b *Block) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.unmap()
	case n < 0:
		panic("block: released more often than retained")
	}
}

// Close drops the owner's reference; a second Close does nothing.
func (b *Block) Close() error {
	if b.closed.CompareAndSwap(false, true) {
		b.Release()
	}
	return nil
}

func (b *Block) unmap() {
	b.uncache()
	for _, m := range b.maps {
		if err := unmapFile(m); err != nil {
			b.log.Error("A block cannot be unmapped.", "block", b.meta.ULID, "err", err)
		}
	}
	b.maps = nil
}

// uncache drops what was decoded.
func (b *Block) uncache() {
	gone := map[*slot]bool{&b.digests: true}
	for i := range b.ids {
		gone[&b.ids[i]] = true
	}
	for _, c := range []*columns{b.rows, b.series} {
		if c != nil {
			c.slots(func(s *slot) { gone[s] = true })
		}
	}
	b.cache.forget(gone)
}

// forget returns the pages that were touched to the page cache.
func (b *Block) forget() {
	for _, m := range b.maps {
		forget(m)
	}
}

// Forget tells that what was read so far will not be read again soon, so that it does not
// count as memory of the process. What was returned stays valid.
func (b *Block) Forget() {
	b.uncache()
	b.forget()
}
