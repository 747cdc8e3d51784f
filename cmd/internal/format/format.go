package format

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// MaxLine bounds a line of text and a row.
const MaxLine = 16 << 20

// Skipped counts what a format cannot carry.
type Skipped struct {
	Histograms int64 // native histograms
	Stale      int64 // stale markers
	Payloads   int64 // NaN that are written, and are another NaN when they are read
}

// Any reports whether something cannot be carried.
func (s Skipped) Any() bool { return s != Skipped{} }

func (s Skipped) String() string {
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{s.Histograms, "native histograms are left out"}, {s.Stale, "stale markers are left out"}, {s.Payloads, "NaN have lost their payload"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// A Writer writes a file. Runs of one series come one after the other; those of OpenMetrics come by family.
type Writer interface {
	Write(r *flow.Run) error
	Close() error // ends the file, and does not close what it is written to
	Skipped() Skipped
}

// Formats are the names of those that NewWriter knows.
var Formats = []string{"csv", "jsonl", "openmetrics", "parquet"}

// NewWriter returns the writer of a format.
func NewWriter(name string, w io.Writer) (Writer, error) {
	switch name {
	case "csv":
		return newCSVWriter(w), nil
	case "jsonl":
		return newJSONWriter(w), nil
	case "openmetrics":
		return newOpenMetricsWriter(w), nil
	case "parquet":
		return newParquetWriter(w), nil
	}
	return nil, fmt.Errorf("format %q: it is one of %s", name, strings.Join(Formats, ", "))
}

// plainNaN are the bits of the NaN that "NaN" stands for, in Go and in Prometheus.
const plainNaN = value.NormalNaN

// appendFloat writes a value so that ParseFloat gives the same bits: as short as can be, and any NaN but the
// plain one with its bits, as C's strtod has it.
func appendFloat(dst []byte, v float64) []byte {
	if bits := math.Float64bits(v); v != v && bits != plainNaN {
		dst = append(dst, "NaN(0x"...)
		return append(strconv.AppendUint(dst, bits, 16), ')')
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// parseFloat reads what appendFloat writes, and any number that Go reads.
func parseFloat(s string) (float64, error) {
	if hex, ok := strings.CutPrefix(s, "NaN(0x"); ok {
		hex, ok = strings.CutSuffix(hex, ")")
		bits, err := strconv.ParseUint(hex, 16, 64)
		if v := math.Float64frombits(bits); ok && err == nil && v != v {
			return v, nil
		}
		return 0, fmt.Errorf("%q is not a NaN", s)
	}
	if strings.ContainsRune(s, '_') {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		if v != 0 && !math.IsInf(v, 0) || err.(*strconv.NumError).Err != strconv.ErrRange {
			return 0, fmt.Errorf("%.40q is not a number", s)
		}
		return 0, fmt.Errorf("%.40q is out of the range of a float64", s)
	}
	if v != v {
		return math.Float64frombits(plainNaN), nil
	}
	return v, nil
}
