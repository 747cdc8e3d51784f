package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// verifyFile compares a file with its checksum in the meta file.
func (b *Block) verifyFile(c *columns) error {
	if got := fmt.Sprintf("%016x", xxhash.Sum64(c.data)); got != b.meta.Files[c.name].Checksum {
		return c.corrupt(-1, fmt.Errorf("checksum mismatch: %s, want %s", got, b.meta.Files[c.name].Checksum))
	}
	return nil
}

// rebuildIndex makes the index from the two Parquet files, the same bytes as the
// writer's. It verifies the files first, so that damage does not get into the index.
func (b *Block) rebuildIndex() ([]byte, error) {
	for _, c := range []*columns{b.series, b.rows} {
		if err := b.verifyFile(c); err != nil {
			return nil, err
		}
	}
	var buf bytes.Buffer
	p := newPairs()
	x := newIndexWriter(&buf, p)
	rows := rowCursor{c: b.rows}
	err := b.eachSeries(func(ord uint32, set []labels.Label) error {
		pairs := make([]uint32, len(set))
		for i, l := range set {
			var err error
			if pairs[i], err = p.number(p.nameNumber(l.Name), l.Value); err != nil {
				return err
			}
		}
		n, err := rows.count(ord)
		if err != nil {
			return err
		}
		return x.addSeries(pairs, n)
	})
	if err != nil {
		return nil, err
	}
	if err := x.finish(b.meta.ULID); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// storeIndex puts a new index into place.
func (b *Block) storeIndex(data []byte) error {
	name := filepath.Join(b.dir, IndexFile)
	tmp := name + tmpSuffix
	f, err := b.fs.Create(tmp)
	if err != nil {
		return err
	}
	o := newOutput(f)
	_, _ = o.Write(data) // finish returns the error
	if _, err := o.finish(); err != nil {
		return errors.Join(err, b.fs.Remove(tmp))
	}
	if err := b.fs.Rename(tmp, name); err != nil {
		return err
	}
	return b.fs.SyncDir(b.dir)
}

// rowCursor goes through chunks.parquet in order.
type rowCursor struct {
	c   *columns
	row uint32
}

// count returns how many of the next rows are of a series, and passes over them.
func (rc *rowCursor) count(ord uint32) (n int, err error) {
	for ; uint64(rc.row) < rc.c.rows; rc.row++ {
		g, err := rc.c.group(rc.row)
		if err != nil {
			return 0, err
		}
		if g.u32(colSeries, rc.row) != ord {
			break
		}
		n++
	}
	return n, nil
}

// eachSeries reads series.parquet and calls f with the labels of every series, sorted by name.
// The labels are good until f returns. Its checksum must have been verified.
func (b *Block) eachSeries(f func(ord uint32, set []labels.Label) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = b.corrupt(SeriesFile, fmt.Errorf("read: %v", r))
		}
	}()
	pf, err := parquet.OpenFile(bytes.NewReader(b.series.data), int64(len(b.series.data)), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return b.corrupt(SeriesFile, err)
	}
	ord := uint32(0)
	for _, rg := range pf.RowGroups() {
		if err := b.groupSeries(rg, &ord, f); err != nil {
			return err
		}
	}
	return nil
}

func (b *Block) groupSeries(rg parquet.RowGroup, ord *uint32, f func(ord uint32, set []labels.Label) error) error {
	rows := rg.Rows()
	defer rows.Close()
	buf := make([]parquet.Row, 64)
	var set []labels.Label
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			if set, err = labelSet(set[:0], row); err != nil {
				return b.corrupt(SeriesFile, fmt.Errorf("series %d: %w", *ord, err))
			}
			if err := f(*ord, set); err != nil {
				return err
			}
			*ord++
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return b.corrupt(SeriesFile, err)
		}
	}
}

// labelSet appends the labels in a row of series.parquet.
func labelSet(set []labels.Label, row parquet.Row) ([]labels.Label, error) {
	var metric string
	values := 0
	for _, v := range row {
		if v.IsNull() {
			continue
		}
		switch v.Column() {
		case serMetric:
			metric = view(v.ByteArray())
		case serKey:
			set = append(set, labels.Label{Name: view(v.ByteArray())})
		case serValue:
			if values == len(set) {
				return nil, errors.New("it has more label values than names")
			}
			set[values].Value = view(v.ByteArray())
			values++
		}
	}
	if values != len(set) {
		return nil, errors.New("it has more label names than values")
	}
	if metric != "" {
		i := 0
		for i < len(set) && set[i].Name < model.MetricNameLabel {
			i++
		}
		set = append(set, labels.Label{})
		copy(set[i+1:], set[i:])
		set[i] = labels.Label{Name: model.MetricNameLabel, Value: metric}
	}
	return set, nil
}
