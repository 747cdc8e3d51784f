package format

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// ReadParquet reads flat Parquet with the columns metric, labels, timestamp (ms) and value; others are passed over. Positions are rows.
func ReadParquet(r io.ReaderAt, size int64, from int64, emit Emit, mark Mark) (err error) {
	defer func() {
		if p := recover(); p != nil { // parquet-go trusts what pages say
			err = fmt.Errorf("read Parquet: %v", p)
		}
	}()
	f, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("read Parquet: %w", err)
	}
	x := parquetReader{g: newGather(from, emit, mark)}
	if err := x.columns(f); err != nil {
		return fmt.Errorf("read Parquet: %w", err)
	}
	for _, rg := range f.RowGroups() {
		if x.g.row+rg.NumRows() <= from {
			x.g.row += rg.NumRows()
			continue
		}
		if err := x.group(rg); err != nil {
			return fmt.Errorf("read Parquet: row %d: %w", x.g.row, err)
		}
	}
	return x.g.end()
}

// parquetReader is a Parquet file being read.
type parquetReader struct {
	g    *gather
	at   [5]int // column of each of ours
	unit int64  // of timestamps, in ns
	key  []byte
}

// columns finds ours by their paths.
func (x *parquetReader) columns(f *parquet.File) error {
	want := []string{flatLabel: "labels.key_value.key", flatLabelValue: "labels.key_value.value", flatMetric: "metric", flatTime: "timestamp", flatValue: "value"}
	for i, path := range want {
		leaf, ok := f.Schema().Lookup(strings.Split(path, ".")...)
		if !ok {
			return fmt.Errorf("there is no column %s", path)
		}
		x.at[i] = leaf.ColumnIndex
		kinds := []parquet.Kind{parquet.ByteArray}
		switch i {
		case flatTime:
			kinds = []parquet.Kind{parquet.Int64}
			x.unit = 1e6
			if lt := leaf.Node.Type().LogicalType(); strings.Contains(fmt.Sprint(lt), "MICROS") {
				x.unit = 1e3
			} else if strings.Contains(fmt.Sprint(lt), "NANOS") {
				x.unit = 1
			}
		case flatValue:
			kinds = []parquet.Kind{parquet.Double}
		}
		if !leaf.Node.Leaf() || !slices.Contains(kinds, leaf.Node.Type().Kind()) {
			return fmt.Errorf("column %s is of type %s, want %s", path, leaf.Node.Type(), kinds[0])
		}
	}
	return nil
}

func (x *parquetReader) group(rg parquet.RowGroup) error {
	rows := rg.Rows()
	defer rows.Close()
	buf := make([]parquet.Row, 256)
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			if err := x.row(row); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (x *parquetReader) row(row parquet.Row) error {
	if skip, err := x.g.skip(); skip || err != nil {
		return err
	}
	var s series.Sample
	have := 0
	x.key = x.key[:0]
	for _, v := range row {
		if v.IsNull() {
			continue
		}
		switch v.Column() {
		case x.at[flatTime]:
			s.T = rounded(v.Int64(), 1e6/x.unit)
			have++
		case x.at[flatValue]:
			s.V = v.Double()
			have++
		case x.at[flatMetric], x.at[flatLabel], x.at[flatLabelValue]:
			x.key = append(append(x.key, byte(v.Column())), v.ByteArray()...)
			x.key = append(x.key, 0xff)
		}
	}
	if have != 2 {
		return errors.New("it has no time or no value")
	}
	key, ls, err := x.g.labels(x.key, func() (labels.Labels, error) { return x.series(row) })
	if err != nil {
		return err
	}
	return x.g.add(key, ls, s)
}

// rounded divides to the nearest integer, as the times of the other formats are read.
func rounded(v, by int64) int64 {
	q, rest := v/by, v%by
	switch {
	case 2*rest >= by:
		q++
	case 2*rest <= -by:
		q--
	}
	return q
}

func (x *parquetReader) series(row parquet.Row) (labels.Labels, error) {
	b := labels.NewScratchBuilder(8)
	var names, values []string
	for _, v := range row {
		if v.IsNull() {
			continue
		}
		switch v.Column() {
		case x.at[flatMetric]:
			if name := string(v.ByteArray()); name != "" {
				b.Add(model.MetricNameLabel, name)
			}
		case x.at[flatLabel]:
			names = append(names, string(v.ByteArray()))
		case x.at[flatLabelValue]:
			values = append(values, string(v.ByteArray()))
		}
	}
	if len(names) != len(values) {
		return labels.EmptyLabels(), errors.New("it has other numbers of label names and values")
	}
	for i, name := range names {
		if values[i] != "" {
			b.Add(name, values[i])
		}
	}
	return build(&b)
}
