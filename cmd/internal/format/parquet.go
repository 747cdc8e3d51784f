package format

import (
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// The columns of a flat Parquet file, in the order in which Parquet has them: by name.
const (
	flatLabel = iota // labels.key_value.key
	flatLabelValue
	flatMetric
	flatTime
	flatValue
)

func flatSchema() *parquet.Schema {
	name := func() parquet.Node { return parquet.Encoded(parquet.String(), &parquet.RLEDictionary) }
	return parquet.NewSchema("samples", parquet.Group{
		"metric":    name(),
		"labels":    parquet.Map(name(), name()),
		"timestamp": parquet.Encoded(parquet.Timestamp(parquet.Millisecond), &parquet.DeltaBinaryPacked),
		"value":     parquet.Leaf(parquet.DoubleType),
	})
}

// flatGroup bounds the memory of a row group.
const flatGroup = 256 << 10

// parquetWriter writes a row a sample.
type parquetWriter struct {
	w       *parquet.GenericWriter[any]
	skipped Skipped
	rows    []parquet.Row
	cells   []parquet.Value
	inGroup int
}

func newParquetWriter(w io.Writer) *parquetWriter {
	return &parquetWriter{w: parquet.NewGenericWriter[any](w, flatSchema(), parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.PageBufferSize(256<<10), parquet.CreatedBy("minitrue", "1", ""))}
}

func (p *parquetWriter) Write(r *flow.Run) error {
	p.skipped.Histograms += int64(len(r.Histograms))
	head := flatHead(r.Labels)
	for from := 0; from < len(r.Floats); from += 1024 {
		part := r.Floats[from:min(from+1024, len(r.Floats))]
		p.rows, p.cells = p.rows[:0], p.cells[:0]
		for _, s := range part {
			at := len(p.cells)
			p.cells = append(p.cells, head...)
			p.cells = append(p.cells, parquet.Int64Value(s.T).Level(0, 0, flatTime), parquet.DoubleValue(s.V).Level(0, 0, flatValue))
			p.rows = append(p.rows, parquet.Row(p.cells[at:len(p.cells):len(p.cells)]))
		}
		if _, err := p.w.WriteRows(p.rows); err != nil {
			return err
		}
		if p.inGroup += len(part); p.inGroup >= flatGroup {
			p.inGroup = 0
			if err := p.w.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flatHead are the cells of a series' rows before the time.
func flatHead(ls labels.Labels) []parquet.Value {
	var keys, values []parquet.Value
	name := ""
	ls.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			name = l.Value
			return
		}
		repetition := min(len(keys), 1)
		keys = append(keys, parquet.ValueOf(l.Name).Level(repetition, 1, flatLabel))
		values = append(values, parquet.ValueOf(l.Value).Level(repetition, 1, flatLabelValue))
	})
	if len(keys) == 0 {
		keys = append(keys, parquet.NullValue().Level(0, 0, flatLabel))
		values = append(values, parquet.NullValue().Level(0, 0, flatLabelValue))
	}
	return append(append(keys, values...), parquet.ValueOf(name).Level(0, 0, flatMetric))
}

func (p *parquetWriter) Close() error     { return p.w.Close() }
func (p *parquetWriter) Skipped() Skipped { return p.skipped }
