package format

import (
	"bufio"
	"encoding/csv"
	"io"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// csvWriter writes a row a sample: metric, labels as a JSON object, timestamp in ms, value.
type csvWriter struct {
	w       *bufio.Writer
	skipped Skipped
	started bool
	line    []byte
}

func newCSVWriter(w io.Writer) *csvWriter { return &csvWriter{w: bufio.NewWriterSize(w, 256<<10)} }

func (c *csvWriter) header() {
	if !c.started {
		c.started = true
		_, _ = c.w.WriteString("metric,labels,timestamp,value\n") // the error sticks
	}
}

func (c *csvWriter) Write(r *flow.Run) error {
	c.header()
	c.skipped.Histograms += int64(len(r.Histograms))
	prefix, err := csvPrefix(r.Labels)
	if err != nil {
		return err
	}
	for _, s := range r.Floats {
		c.line = append(c.line[:0], prefix...)
		c.line = append(strconv.AppendInt(c.line, s.T, 10), ',')
		c.line = append(appendFloat(c.line, s.V), '\n')
		if _, err := c.w.Write(c.line); err != nil {
			return err
		}
	}
	return nil
}

// csvPrefix is what the rows of a series begin with. A metric name that readers of CSV change, since they take
// line ends for one another, is a label.
func csvPrefix(ls labels.Labels) (string, error) {
	name := ls.Get(model.MetricNameLabel)
	if strings.ContainsAny(name, "\r\n") || strings.TrimSpace(name) != name {
		name = ""
	} else {
		ls = labels.NewBuilder(ls).Del(model.MetricNameLabel).Labels()
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	err := w.Write([]string{name, string(appendLabels(nil, ls)), ""})
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n"), err
}

func (c *csvWriter) Close() error {
	c.header()
	return c.w.Flush()
}

func (c *csvWriter) Skipped() Skipped { return c.skipped }
