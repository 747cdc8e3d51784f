package format

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// openMetricsWriter writes OpenMetrics text. A stale marker says that there is no value, and a NaN in its place would be one:
// it is left out.
type openMetricsWriter struct {
	w       *bufio.Writer
	skipped Skipped
	family  string // whose lines are being written
	line    []byte
}

func newOpenMetricsWriter(w io.Writer) *openMetricsWriter {
	return &openMetricsWriter{w: bufio.NewWriterSize(w, 256<<10)}
}

func (o *openMetricsWriter) Write(r *flow.Run) error {
	o.skipped.Histograms += int64(len(r.Histograms))
	if len(r.Floats) == 0 {
		return nil
	}
	name := r.Labels.Get(model.MetricNameLabel)
	if f := Family(name, r.About); f != o.family {
		o.family = f
		if err := o.describe(f, name, r.About); err != nil {
			return err
		}
	}
	prefix := appendSeries(nil, r.Labels, name)
	for _, s := range r.Floats {
		v := s.V
		if v != v {
			if value.IsStaleNaN(v) {
				o.skipped.Stale++
				continue
			}
			if math.Float64bits(v) != plainNaN {
				o.skipped.Payloads++
				v = math.Float64frombits(plainNaN)
			}
		}
		o.line = append(append(o.line[:0], prefix...), ' ')
		switch { // the text of infinities has a sign
		case math.IsInf(v, 1):
			o.line = append(o.line, "+Inf"...)
		default:
			o.line = appendFloat(o.line, v)
		}
		o.line = append(appendSeconds(append(o.line, ' '), s.T), '\n')
		if _, err := o.w.Write(o.line); err != nil {
			return err
		}
	}
	return nil
}

// Family is the name of the metric family that a metric belongs to, as OpenMetrics sees it: without the suffix that its type asks for.
func Family(name string, about *series.Metadata) string {
	if about == nil {
		return name
	}
	for _, suffix := range suffixes(about.Type) {
		if f, ok := strings.CutSuffix(name, suffix); ok && f != "" && (suffix == "" || about.Family == f || about.Family == name) {
			return f
		}
	}
	return name
}

func suffixes(t model.MetricType) []string {
	switch t {
	case model.MetricTypeCounter:
		return []string{"_total"}
	case model.MetricTypeHistogram:
		return []string{"_bucket", "_count", "_sum"}
	case model.MetricTypeSummary:
		return []string{"_count", "_sum", ""}
	case model.MetricTypeGauge:
		return []string{""}
	}
	return nil
}

// describe writes what is known of a family.
func (o *openMetricsWriter) describe(family, name string, about *series.Metadata) error {
	b := append(o.line[:0], "# TYPE "...)
	b = append(appendName(b, family), ' ')
	typ := model.MetricTypeUnknown
	if about != nil {
		for _, suffix := range suffixes(about.Type) {
			if name == family+suffix {
				typ = about.Type
			}
		}
	}
	b = append(append(b, typ...), '\n')
	if about != nil && about.Unit != "" && strings.HasSuffix(family, "_"+about.Unit) {
		b = append(appendName(append(b, "# UNIT "...), family), ' ')
		b = append(append(b, about.Unit...), '\n')
	}
	if about != nil && about.Help != "" {
		b = append(appendName(append(b, "# HELP "...), family), ' ')
		b = append(appendEscaped(b, about.Help), '\n')
	}
	_, err := o.w.Write(b)
	return err
}

func (o *openMetricsWriter) Close() error {
	if _, err := o.w.WriteString("# EOF\n"); err != nil {
		return err
	}
	return o.w.Flush()
}

func (o *openMetricsWriter) Skipped() Skipped { return o.skipped }

// appendSeries writes a metric's name and labels. A name beyond [a-zA-Z_:][a-zA-Z0-9_:]* stands quoted among the labels.
func appendSeries(dst []byte, ls labels.Labels, name string) []byte {
	sep := byte('{')
	if model.LegacyValidation.IsValidMetricName(name) {
		dst = append(dst, name...)
	} else if name != "" {
		dst = appendQuoted(append(dst, sep), name)
		sep = ','
	}
	ls.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		dst = append(dst, sep)
		sep = ','
		if model.LegacyValidation.IsValidLabelName(l.Name) {
			dst = append(dst, l.Name...)
		} else {
			dst = appendQuoted(dst, l.Name)
		}
		dst = appendQuoted(append(dst, '='), l.Value)
	})
	if sep == ',' {
		dst = append(dst, '}')
	}
	return dst
}

func appendName(dst []byte, name string) []byte {
	if model.LegacyValidation.IsValidMetricName(name) {
		return append(dst, name...)
	}
	return appendQuoted(dst, name)
}

func appendQuoted(dst []byte, s string) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// appendSeconds writes a time in ms as seconds. Prometheus's parser multiplies a float by 1000 and cuts the rest off, which makes
// 1.001 out of some times that are meant to be 1.002: those get more digits, which exact readers round away.
func appendSeconds(dst []byte, ms int64) []byte {
	begin := len(dst)
	u := uint64(ms)
	if ms < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/1000, 10)
	if rest := u % 1000; rest != 0 {
		dst = append(dst, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
		if f, err := strconv.ParseFloat(string(dst[begin:]), 64); err == nil && int64(f*1000) != ms {
			dst = append(dst, '0', '0', '1')
		}
	}
	return dst
}
