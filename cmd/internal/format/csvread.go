package format

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// Columns say what is where in a CSV file. A column is named by the header, or by its number from 1 on when there is none.
// The zero value reads what the CSV writer writes.
type Columns struct {
	Time       string            // "" means timestamp
	TimeFormat string            // s, ms, us, ns, or rfc3339; "" means ms
	Values     []string          // of several, each is a metric of its own name; none means value
	Metric     string            // holds the metric name; "" means metric, if there is such a column
	Labels     string            // holds labels as a JSON object; "" means labels, if there is such a column
	Each       map[string]string // column → label
	Fixed      map[string]string // labels of every sample; __name__ among them is the metric of all
	Comma      rune              // 0 means ,
	NoHeader   bool
}

// csvReader is a CSV file being read.
type csvReader struct {
	c      Columns
	in     *csv.Reader
	guard  *guard
	g      *gather
	time   int
	values []int
	metric int // -1: none
	labels int
	each   []column
	names  []string // of values
	key    []byte
}

type column struct {
	at   int
	name string
}

// guard ends a row that is too long to be meant.
type guard struct {
	r    io.Reader
	left int
}

func (g *guard) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, fmt.Errorf("a row has more than %d bytes: is a quote missing?", MaxLine)
	}
	n, err := g.r.Read(p)
	g.left -= n
	return n, err
}

// ReadCSV reads CSV (RFC 4180). Positions are rows.
func ReadCSV(r io.Reader, c Columns, from int64, emit Emit, mark Mark) error {
	gd := &guard{r: r, left: MaxLine}
	x := &csvReader{c: c, in: csv.NewReader(gd), guard: gd, g: newGather(from, emit, mark)}
	x.in.ReuseRecord = true
	if c.Comma != 0 {
		x.in.Comma = c.Comma
	}
	for first := true; ; first = false {
		gd.left = MaxLine
		rec, err := x.in.Read()
		if errors.Is(err, io.EOF) {
			return x.g.end()
		}
		if err != nil {
			return fmt.Errorf("read CSV: %w", err)
		}
		if first {
			if err := x.columns(rec); err != nil {
				return fmt.Errorf("read CSV: %w", err)
			}
			if !c.NoHeader {
				continue
			}
		}
		if err := x.row(rec); err != nil {
			line, _ := x.in.FieldPos(0)
			return fmt.Errorf("read CSV: line %d: %w", line, err)
		}
	}
}

// columns finds the columns by the first row.
func (x *csvReader) columns(first []string) (err error) {
	header := make([]string, len(first))
	for i, name := range first {
		header[i] = strings.Clone(name)
		if x.c.NoHeader {
			header[i] = strconv.Itoa(i + 1)
		}
	}
	if len(header) > 0 {
		header[0] = strings.TrimPrefix(header[0], "\ufeff")
	}
	find := func(name, usual string, must bool) int {
		want := name
		if want == "" {
			want = usual
		}
		i := slices.Index(header, want)
		if i < 0 && (name != "" || must) {
			err = errors.Join(err, fmt.Errorf("there is no column %q among %q", want, header))
		}
		return i
	}
	x.time = find(x.c.Time, "timestamp", true)
	x.metric, x.labels = find(x.c.Metric, "metric", false), find(x.c.Labels, "labels", false)
	for _, v := range x.c.Values {
		x.values = append(x.values, find(v, "", true))
	}
	if len(x.values) == 0 {
		x.values = []int{find("", "value", true)}
	}
	for col, label := range x.c.Each {
		x.each = append(x.each, column{find(col, "", true), label})
	}
	if err != nil {
		return err
	}
	if len(x.values) > 1 || len(x.c.Values) == 1 && x.metric < 0 && x.labels < 0 && x.c.Fixed[model.MetricNameLabel] == "" {
		for _, i := range x.values {
			x.names = append(x.names, header[i])
		}
	}
	return nil
}

func (x *csvReader) row(rec []string) error {
	if skip, err := x.g.skip(); skip || err != nil {
		return err
	}
	t, err := parseTime(rec[x.time], x.c.TimeFormat)
	if err != nil {
		return err
	}
	for i, at := range x.values {
		if rec[at] == "" {
			continue // a sensor that did not measure
		}
		v, err := parseFloat(strings.TrimSpace(rec[at]))
		if err != nil {
			return err
		}
		x.key = append(binary.AppendUvarint(x.key[:0], uint64(i)), 0xff)
		for _, c := range append([]column{{at: x.metric}, {at: x.labels}}, x.each...) {
			if c.at >= 0 {
				x.key = append(append(x.key, rec[c.at]...), 0xff)
			}
		}
		key, ls, err := x.g.labels(x.key, func() (labels.Labels, error) { return x.series(rec, i) })
		if err != nil {
			return err
		}
		if err := x.g.add(key, ls, series.Sample{T: t, V: v}); err != nil {
			return err
		}
	}
	return nil
}

// series makes the labels of a row's ith value: fixed ones yield to those of columns.
func (x *csvReader) series(rec []string, i int) (labels.Labels, error) {
	all := map[string]string{}
	for name, v := range x.c.Fixed {
		all[name] = v
	}
	if x.labels >= 0 && rec[x.labels] != "" {
		d := json.NewDecoder(bytes.NewReader([]byte(rec[x.labels])))
		if err := d.Decode(&all); err != nil {
			return labels.EmptyLabels(), fmt.Errorf("labels %.100q: want a JSON object such as {\"site\":\"a\"}: %w", rec[x.labels], err)
		}
	}
	for _, c := range x.each {
		all[c.name] = rec[c.at]
	}
	if x.metric >= 0 && rec[x.metric] != "" {
		all[model.MetricNameLabel] = rec[x.metric]
	}
	if x.names != nil {
		all[model.MetricNameLabel] = x.names[i]
	}
	if all[model.MetricNameLabel] == "" {
		return labels.EmptyLabels(), errors.New("the row has no metric name: name the column that holds it, or give one for all")
	}
	b := labels.NewScratchBuilder(len(all))
	for name, v := range all {
		if v != "" {
			b.Add(strings.Clone(name), strings.Clone(v))
		}
	}
	return build(&b)
}

// parseTime reads a time into ms.
func parseTime(s, format string) (int64, error) {
	s = strings.TrimSpace(s)
	switch format {
	case "", "ms":
		if t, err := strconv.ParseInt(s, 10, 64); err == nil {
			return t, nil
		}
		return decimal(s, 0)
	case "s":
		return decimal(s, 3)
	case "us":
		return decimal(s, -3)
	case "ns":
		return decimal(s, -6)
	case "rfc3339":
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return 0, fmt.Errorf("time %.60q: want one such as 2026-01-02T15:04:05.678Z", s)
		}
		return t.Round(time.Millisecond).UnixMilli(), nil
	}
	return 0, fmt.Errorf("time format %q: it is s, ms, us, ns or rfc3339", format)
}
