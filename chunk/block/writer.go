package block

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/disk"
)

// Series is one series of a block.
type Series struct {
	Partition uint16
	Labels    labels.Labels
}

// WriterOptions are for a Writer. The zero value is usable.
type WriterOptions struct {
	ULID ulid.ULID        // the block's name; zero means a new one
	Now  func() time.Time // for a new ULID; nil means time.Now
	FS   disk.FS          // nil means disk.OS
	Rest func()           // is called often while Commit works, for one who rests; nil means never
}

// Writer writes one block. It is used by one goroutine. After an error only Abort
// is of use.
type Writer struct {
	root, tmp string
	meta      Meta
	fs        disk.FS
	rest      func()

	pairs    *pairs
	rows     *rowWriter
	series   *seriesWriter
	index    *indexWriter
	indexOut *output
	prev     []uint32 // the last series' pairs
	cur      []uint32
	err      error // the first one
	mine     bool  // the folder is this writer's
	done     bool  // committed or aborted
}

// Create begins a block below root, which is made when it does not exist.
func Create(root string, o WriterOptions) (*Writer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Rest == nil {
		o.Rest = func() {}
	}
	if o.ULID == (ulid.ULID{}) {
		id, err := ulid.New(ulid.Timestamp(o.Now()), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("create block: %w", err)
		}
		o.ULID = id
	}
	w := &Writer{
		root: root, tmp: filepath.Join(root, o.ULID.String()+tmpSuffix), fs: o.FS, rest: o.Rest, pairs: newPairs(),
		meta: Meta{ULID: o.ULID, Version: Version, MinTime: math.MaxInt64, MaxTime: math.MinInt64, Files: map[string]FileMeta{}},
	}
	if err := w.open(); err != nil {
		_ = w.Abort() // the first error tells more
		return nil, fmt.Errorf("create block %s: %w", o.ULID, err)
	}
	return w, nil
}

func (w *Writer) open() error {
	if _, err := os.Stat(w.dir()); err == nil {
		return os.ErrExist
	}
	if err := disk.MkdirAll(w.fs, w.root); err != nil {
		return err
	}
	if err := w.fs.Mkdir(w.tmp); err != nil {
		return err
	}
	w.mine = true
	f, err := w.fs.Create(filepath.Join(w.tmp, ChunksFile))
	if err != nil {
		return err
	}
	if w.rows, err = newRowWriter(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if f, err = w.fs.Create(filepath.Join(w.tmp, SeriesFile)); err != nil {
		return err
	}
	if w.series, err = newSeriesWriter(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if f, err = w.fs.Create(filepath.Join(w.tmp, IndexFile)); err != nil {
		return err
	}
	w.indexOut = newOutput(f)
	w.index = newIndexWriter(w.indexOut, w.pairs)
	w.rows.rest, w.series.rest, w.index.rest = w.rest, w.rest, w.rest
	return nil
}

func (w *Writer) dir() string { return filepath.Join(w.root, w.meta.ULID.String()) }

// ULID is the name that the block will have.
func (w *Writer) ULID() ulid.ULID { return w.meta.ULID }

// Append adds a series and its chunks. Series come in the order of labels.Compare, each
// once, without empty labels; chunks in time order, not overlapping; else the error is an [ErrOrder].
// A series without chunks is left out. The labels and the data are the writer's only until Append returns.
func (w *Writer) Append(s Series, chunks []chunk.Chunk) error {
	if w.err != nil {
		return w.err
	}
	if len(chunks) == 0 {
		return nil
	}
	if err := w.append(s, chunks); err != nil {
		w.err = fmt.Errorf("append to block %s: series %s: %w", w.meta.ULID, s.Labels, err)
	}
	return w.err
}

func (w *Writer) append(s Series, chunks []chunk.Chunk) error {
	if err := w.number(s.Labels); err != nil {
		return err
	}
	if w.meta.Series > 0 && w.pairs.compare(w.prev, w.cur) >= 0 {
		return fmt.Errorf("%w: it does not come after the series before it", ErrOrder)
	}
	if w.meta.Series == math.MaxInt32 {
		return errTooLarge
	}
	ord := uint32(w.meta.Series)
	for i := range chunks {
		c := &chunks[i]
		if err := checkChunk(c); err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
		if i > 0 && c.MinTime <= chunks[i-1].MaxTime {
			return fmt.Errorf("%w: chunk %d begins at %d, the one before it ends at %d", ErrOrder, i, c.MinTime, chunks[i-1].MaxTime)
		}
		if err := w.rows.add(ord, c); err != nil {
			return err
		}
		w.meta.Samples += c.Samples
	}
	w.meta.MinTime = min(w.meta.MinTime, chunks[0].MinTime)
	w.meta.MaxTime = max(w.meta.MaxTime, chunks[len(chunks)-1].MaxTime)
	w.meta.Chunks += uint64(len(chunks))
	w.meta.Series++
	if err := w.index.addSeries(w.cur, len(chunks)); err != nil {
		return err
	}
	if err := w.series.add(ord, s.Partition, w.pairs, w.cur); err != nil {
		return err
	}
	w.prev, w.cur = w.cur, w.prev
	return nil
}

func checkChunk(c *chunk.Chunk) error {
	switch {
	case c.Samples == 0 || c.MinTime > c.MaxTime || c.Stale > c.Samples:
		return fmt.Errorf("its statistics are impossible: %d samples, %d stale, from %d to %d", c.Samples, c.Stale, c.MinTime, c.MaxTime)
	case c.Samples > math.MaxUint32:
		return fmt.Errorf("%d samples are too many", c.Samples)
	case len(c.Data) == 0 && c.Encoding != chunk.Dense:
		return errors.New("it has no data")
	case len(c.Data) > maxData || len(c.Times) > maxData:
		return fmt.Errorf("%d bytes of data and %d of times, want at most %d", len(c.Data), len(c.Times), maxData)
	}
	return nil
}

// number sets cur to the pairs of a label set. Neighbours share most labels, and those of the
// series before are compared first.
func (w *Writer) number(ls labels.Labels) error {
	w.cur = w.cur[:0]
	var last string
	return ls.Validate(func(l labels.Label) error {
		i := len(w.cur)
		if l.Name == "" || l.Value == "" || i > 0 && l.Name <= last {
			return fmt.Errorf("%w: label %q is empty, or not after %q", ErrOrder, l.Name, last)
		}
		last = l.Name
		var name uint32
		if i < len(w.prev) && w.pairs.names[w.pairs.name[w.prev[i]]] == l.Name {
			if w.pairs.value(w.prev[i]) == l.Value {
				w.cur = append(w.cur, w.prev[i])
				return nil
			}
			name = w.pairs.name[w.prev[i]]
		} else {
			name = w.pairs.nameNumber(l.Name)
		}
		pair, err := w.pairs.number(name, l.Value)
		w.cur = append(w.cur, pair)
		return err
	})
}

// Commit makes the block durable and puts it into place. It returns ErrEmpty when nothing was appended.
// After an error the folder is gone, or is one that [Clean] removes.
func (w *Writer) Commit(o Origin) (Meta, error) {
	switch {
	case w.done:
		return Meta{}, fmt.Errorf("commit block %s: it is committed or aborted", w.meta.ULID)
	case w.err == nil && w.meta.Series == 0:
		w.err = ErrEmpty
	}
	w.meta.Origin = o
	if w.err == nil {
		w.err = w.commit()
	}
	if w.err != nil {
		_ = w.Abort() // the first error tells more
		return Meta{}, fmt.Errorf("commit block %s: %w", w.meta.ULID, w.err)
	}
	w.done = true
	return w.meta, nil
}

func (w *Writer) commit() (err error) {
	files := w.meta.Files
	if files[ChunksFile], err = w.rows.finish(); err != nil {
		return err
	}
	if files[SeriesFile], err = w.series.finish(); err != nil {
		return err
	}
	if err := w.index.finish(w.meta.ULID); err != nil {
		return err
	}
	if files[IndexFile], err = w.indexOut.finish(); err != nil {
		return err
	}
	b, err := encodeMeta(w.meta)
	if err != nil {
		return err
	}
	f, err := w.fs.Create(filepath.Join(w.tmp, MetaFile))
	if err != nil {
		return err
	}
	out := newOutput(f)
	_, _ = out.Write(b) // finish returns the error
	if _, err := out.finish(); err != nil {
		return err
	}
	if err := w.fs.SyncDir(w.tmp); err != nil {
		return err
	}
	if err := w.fs.Rename(w.tmp, w.dir()); err != nil {
		return err
	}
	if err := w.fs.SyncDir(w.root); err != nil {
		// Whether it is there after a power loss is unknown: the caller writes it again.
		return errors.Join(err, disk.RemoveAll(w.fs, w.dir()))
	}
	return nil
}

// Abort gives the block up and removes what was written. After a Commit that worked it does nothing.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	if w.err == nil {
		w.err = errors.New("it was aborted")
	}
	if w.rows != nil {
		w.rows.out.abandon()
	}
	if w.series != nil {
		w.series.out.abandon()
	}
	w.indexOut.abandon()
	if !w.mine {
		return nil
	}
	if err := disk.RemoveAll(w.fs, w.tmp); err != nil {
		return fmt.Errorf("abort block %s: %w", w.meta.ULID, err)
	}
	return nil
}
