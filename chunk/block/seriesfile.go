package block

import (
	"encoding/binary"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/minitrue/minitrue/chunk/disk"
)

// The columns of series.parquet. All are required; metric is "" for a series without
// a name, and labels has every label but the name.
const (
	serOrdinal = iota
	serPartition
	serMetric
	serKey
	serValue
	seriesColumns
)

// Bounds of a row group of series.parquet, whichever is met first.
const (
	seriesGroupRows   = 64 << 10
	seriesGroupLabels = 1 << 20
	seriesGroupDict   = 16 << 20 // bytes of a dictionary
)

func seriesSchema() ([]format.SchemaElement, []column) {
	mapOf := format.SchemaElement{
		Name: "labels", RepetitionType: thrift.New(format.Required), NumChildren: thrift.New[int32](1),
		ConvertedType: thrift.New(deprecated.Map), LogicalType: format.LogicalType{Value: &format.MapType{}},
	}
	kv := format.SchemaElement{Name: "key_value", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New[int32](2)}
	flat := []format.SchemaElement{unsignedLeaf("series", 32), unsignedLeaf("partition", 16), stringLeaf("metric")}
	cols := append(leaves(flat),
		column{path: []string{"labels", "key_value", "key"}, typ: format.ByteArray},
		column{path: []string{"labels", "key_value", "value"}, typ: format.ByteArray})
	s := append([]format.SchemaElement{rootElement(4)}, flat...)
	return append(s, mapOf, kv, stringLeaf("key"), stringLeaf("value")), cols
}

// dictionary collects the distinct strings of a column in a row group, by the number
// that the whole block knows them by.
type dictionary struct {
	slot   []uint32 // by number: 1 + place in the dictionary, 0 when it is not in it
	used   []uint32 // numbers by place
	plain  []byte   // the strings, PLAIN
	values []uint32 // the column: places
}

func (d *dictionary) add(number uint32, s string) {
	if int(number) >= len(d.slot) {
		d.slot = append(d.slot, make([]uint32, int(number)+1-len(d.slot))...)
	}
	p := d.slot[number]
	if p == 0 {
		d.used = append(d.used, number)
		p = uint32(len(d.used))
		d.slot[number] = p
		d.plain = binary.LittleEndian.AppendUint32(d.plain, uint32(len(s)))
		d.plain = append(d.plain, s...)
	}
	d.values = append(d.values, p-1)
}

func (d *dictionary) reset() {
	for _, n := range d.used {
		d.slot[n] = 0
	}
	d.used, d.plain, d.values = d.used[:0], d.plain[:0], d.values[:0]
}

// seriesWriter writes series.parquet.
type seriesWriter struct {
	*parquetWriter

	fixed      [serMetric][]byte // series, partition
	n          int               // rows of the current group
	metric     dictionary        // by pair; the number after the last is no name
	key        dictionary        // by name
	value      dictionary        // by pair
	repetition []uint32          // of key and value: 0 begins a series
	definition []uint32          // 0 is a series without labels
	levels     []byte
}

func newSeriesWriter(f disk.File) (*seriesWriter, error) {
	schema, cols := seriesSchema()
	pw, err := newParquetWriter(f, schema, cols)
	if err != nil {
		return nil, err
	}
	return &seriesWriter{parquetWriter: pw}, nil
}

// add appends a series whose labels are these pairs, in order.
func (w *seriesWriter) add(ord uint32, partition uint16, pairs *pairs, labels []uint32) error {
	full := w.n >= seriesGroupRows || len(w.repetition) >= seriesGroupLabels
	if full || max(len(w.metric.plain), len(w.value.plain)) >= seriesGroupDict {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.fixed[serOrdinal] = binary.LittleEndian.AppendUint32(w.fixed[serOrdinal], ord)
	w.fixed[serPartition] = binary.LittleEndian.AppendUint32(w.fixed[serPartition], uint32(partition))

	metric, number, level := "", uint32(0), uint32(0)
	for _, p := range labels {
		if pairs.isMetric(p) {
			metric, number = pairs.value(p), p+1
			continue
		}
		w.key.add(pairs.name[p], pairs.names[pairs.name[p]])
		w.value.add(p, pairs.value(p))
		w.repetition, w.definition = append(w.repetition, level), append(w.definition, 1)
		level = 1
	}
	if level == 0 {
		w.repetition, w.definition = append(w.repetition, 0), append(w.definition, 0)
	}
	w.metric.add(number, metric)
	w.n++
	return nil
}

// flush writes the current row group.
func (w *seriesWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	for i, b := range w.fixed {
		var st format.Statistics
		if i == serOrdinal {
			st = bounds(slices.Clone(b[:4]), slices.Clone(b[len(b)-4:]))
		}
		if err := w.columnChunk(format.Zstd, st, w.z.fixed(w.cols[i].typ, b, w.n)...); err != nil {
			return err
		}
		w.fixed[i] = b[:0]
	}
	if err := w.strings(&w.metric, nil, w.n); err != nil {
		return err
	}
	w.levels = appendLevels(appendLevels(w.levels[:0], w.repetition), w.definition)
	for _, d := range []*dictionary{&w.key, &w.value} {
		if err := w.strings(d, w.levels, len(w.repetition)); err != nil {
			return err
		}
	}
	if err := w.endGroup(w.n, serOrdinal); err != nil {
		return err
	}
	w.n, w.repetition, w.definition = 0, w.repetition[:0], w.definition[:0]
	return nil
}

// strings writes the next column.
func (w *seriesWriter) strings(d *dictionary, levels []byte, rows int) error {
	err := w.dictColumn(d.plain, len(d.used), d.values, levels, rows)
	d.reset()
	return err
}

// appendLevels appends levels of at most 1, in the form of a data page of version 1.
func appendLevels(dst []byte, levels []uint32) []byte {
	at := len(dst)
	dst = appendHybrid(append(dst, 0, 0, 0, 0), levels, 1)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

func (w *seriesWriter) finish() (FileMeta, error) {
	if err := w.flush(); err != nil {
		return FileMeta{}, err
	}
	return w.parquetWriter.finish()
}
