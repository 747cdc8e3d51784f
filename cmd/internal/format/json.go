package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// jsonWriter writes a line a run, in the form that VictoriaMetrics exports, with histograms beside it:
//
//	{"metric":{"__name__":"up"},"values":[1,"NaN"],"timestamps":[1000,2000],"histograms":[{"timestamp":3000,…}]}
type jsonWriter struct {
	w    *bufio.Writer
	line []byte
}

// jsonRun is how many samples a line holds at most.
const jsonRun = 8192

func newJSONWriter(w io.Writer) *jsonWriter { return &jsonWriter{w: bufio.NewWriterSize(w, 256<<10)} }

func (j *jsonWriter) Write(r *flow.Run) error {
	floats, histograms := r.Floats, r.Histograms
	for len(floats)+len(histograms) > 0 {
		f, h := floats[:min(len(floats), jsonRun)], histograms[:min(len(histograms), jsonRun/32)]
		floats, histograms = floats[len(f):], histograms[len(h):]
		b := append(j.line[:0], `{"metric":`...)
		b = append(appendLabels(b, r.Labels), `,"values":[`...)
		for i, s := range f {
			if i > 0 {
				b = append(b, ',')
			}
			b = num(s.V).append(b)
		}
		b = append(b, `],"timestamps":[`...)
		for i, s := range f {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, s.T, 10)
		}
		b = append(b, ']')
		if len(h) > 0 {
			raw, err := json.Marshal(jsonHistograms(h))
			if err != nil {
				return err
			}
			b = append(append(b, `,"histograms":`...), raw...)
		}
		b = append(b, '}', '\n')
		j.line = b
		if _, err := j.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func (j *jsonWriter) Close() error     { return j.w.Flush() }
func (j *jsonWriter) Skipped() Skipped { return Skipped{} }

// appendLabels writes labels as a JSON object.
func appendLabels(dst []byte, ls labels.Labels) []byte {
	dst = append(dst, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendText(dst, l.Name), ':')
		dst = appendText(dst, l.Value)
	})
	return append(dst, '}')
}

func appendText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // which a string never is the reason for
		return dst
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// num is a float in JSON: a number, and text when JSON has none for it.
type num float64

func (n num) append(dst []byte) []byte {
	v := float64(n)
	if v-v == 0 { // finite
		return appendFloat(dst, v)
	}
	return append(appendFloat(append(dst, '"'), v), '"')
}

func (n num) MarshalJSON() ([]byte, error) { return n.append(nil), nil }

// UnmarshalJSON reads what MarshalJSON writes, and null, which VictoriaMetrics writes for the one NaN that it keeps.
func (n *num) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = num(math.Float64frombits(value.StaleNaN))
		return nil
	}
	v, err := parseFloat(string(bytes.Trim(b, `"`)))
	*n = num(v)
	return err
}

// jsonHistogram is a native histogram. The fields are those of Prometheus's, buckets as it keeps them: deltas of counts, or
// counts when it is one of floats.
type jsonHistogram struct {
	T         int64                      `json:"timestamp"`
	Float     bool                       `json:"float,omitempty"`
	Hint      histogram.CounterResetHint `json:"counter_reset_hint,omitempty"`
	Schema    int32                      `json:"schema"`
	Threshold num                        `json:"zero_threshold"`
	Sum       num                        `json:"sum"`
	Count     json.RawMessage            `json:"count"`
	Zero      json.RawMessage            `json:"zero_count"`
	PosSpans  []jsonSpan                 `json:"positive_spans,omitempty"`
	NegSpans  []jsonSpan                 `json:"negative_spans,omitempty"`
	Pos       json.RawMessage            `json:"positive_buckets,omitempty"`
	Neg       json.RawMessage            `json:"negative_buckets,omitempty"`
	Custom    []num                      `json:"custom_values,omitempty"`
}

type jsonSpan struct {
	Offset int32  `json:"offset"`
	Length uint32 `json:"length"`
}
