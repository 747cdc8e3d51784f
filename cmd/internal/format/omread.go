package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// ReadOpenMetrics reads OpenMetrics text, version 1. Samples without a time get now (ms). Positions are lines of samples.
func ReadOpenMetrics(r io.Reader, now, from int64, emit Emit, mark Mark) error {
	x := omReader{g: newGather(from, emit, mark), now: now, about: map[string]*series.Metadata{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), MaxLine)
	sc.Split(scanLF)
	n, ended := 0, false
	for sc.Scan() {
		n++
		line := sc.Bytes()
		if ended {
			return fmt.Errorf("read OpenMetrics: line %d: it is behind # EOF", n)
		}
		err := error(nil)
		switch {
		case bytes.HasPrefix(line, []byte("#")):
			ended, err = x.comment(string(line))
		case len(line) > 0:
			err = x.sample(line)
		}
		if err != nil {
			return fmt.Errorf("read OpenMetrics: line %d: %w", n, err)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read OpenMetrics: line %d: %w", n+1, err)
	}
	if err := x.g.end(); err != nil {
		return err
	}
	if !ended {
		return fmt.Errorf("read OpenMetrics: the text ends after line %d without # EOF: it is cut short; what was there has been read", n)
	}
	return nil
}

// scanLF cuts lines at \n alone: a label value may hold \r.
func scanLF(data []byte, end bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if end && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// omReader is a text being read.
type omReader struct {
	g     *gather
	now   int64
	about map[string]*series.Metadata // by family
}

const maxFamilies = 100_000 // that are described; the others are read as well

// comment reads a line of metadata.
func (x *omReader) comment(line string) (end bool, err error) {
	if line == "# EOF" {
		return true, nil
	}
	p := text{s: line}
	kind := ""
	for _, k := range []string{"# TYPE ", "# HELP ", "# UNIT "} {
		if p.skip(k) {
			kind = k[2:6]
		}
	}
	if kind == "" {
		return false, nil // a comment
	}
	family := p.name(" ")
	p.skip(" ")
	if p.err != nil || family == "" {
		return false, fmt.Errorf("malformed metadata %.80q", line)
	}
	m := series.Metadata{Family: family, Type: model.MetricTypeUnknown}
	if was := x.about[family]; was != nil {
		m = *was // which runs have that are on their way
	} else if len(x.about) >= maxFamilies {
		return false, nil
	}
	x.about[family] = &m
	switch kind {
	case "TYPE":
		m.Type = model.MetricType(p.s)
	case "UNIT":
		m.Unit = p.s
	default:
		m.Help = unescape(p.s)
	}
	return false, nil
}

func (x *omReader) sample(line []byte) error {
	if skip, err := x.g.skip(); skip || err != nil {
		return err
	}
	end := seriesEnd(line)
	key, ls, err := x.g.labels(line[:end], func() (labels.Labels, error) { return parseSeries(string(line[:end])) })
	if err != nil {
		return err
	}
	p := text{s: string(line[end:])}
	if !p.skip(" ") {
		return errors.New("there is no value")
	}
	s := series.Sample{T: x.now}
	if s.V, err = parseFloat(p.word()); err != nil {
		return err
	}
	if p.skip(" ") && !strings.HasPrefix(p.s, "#") {
		if s.T, err = decimal(p.word(), 3); err != nil {
			return err
		}
		p.skip(" ")
	}
	if err := x.g.add(key, ls, s); err != nil {
		return err
	}
	if x.g.cur.About == nil || len(x.g.cur.Floats) == 1 {
		x.g.cur.About = x.find(ls.Get(model.MetricNameLabel))
	}
	if p.s == "" {
		return nil
	}
	return x.exemplar(&p)
}

// find returns what is known of a metric's family.
func (x *omReader) find(name string) *series.Metadata {
	if m := x.about[name]; m != nil {
		return m
	}
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount", "_gsum"} {
		if f, ok := strings.CutSuffix(name, suffix); ok && x.about[f] != nil {
			return x.about[f]
		}
	}
	return nil
}

// exemplar reads what stands behind a sample: # {trace_id="x"} 1.5 1700000000.
func (x *omReader) exemplar(p *text) error {
	if !p.skip("# {") {
		return fmt.Errorf("%.80q behind the sample is no exemplar", p.s)
	}
	b := labels.NewScratchBuilder(2)
	p.labels(&b)
	b.Sort()
	e := exemplar.Exemplar{Labels: b.Labels()}
	p.skip(" ")
	var err error
	if e.Value, err = parseFloat(p.word()); p.err == nil && err == nil && p.skip(" ") {
		e.HasTs = true
		e.Ts, err = decimal(p.word(), 3)
	}
	if err := errors.Join(p.err, err); err != nil || p.s != "" {
		return fmt.Errorf("malformed exemplar: %w", errors.Join(err, p.err))
	}
	if !e.HasTs {
		e.Ts = x.g.cur.Floats[len(x.g.cur.Floats)-1].T
	}
	x.g.cur.Exemplars = append(x.g.cur.Exemplars, e)
	return nil
}

// seriesEnd finds the end of a name and its labels.
func seriesEnd(line []byte) int {
	quoted := false
	depth := 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			return i + 1
		case c == ' ' && depth == 0 && !slices.Contains(line[i:min(i+2, len(line))], '{'):
			return i
		}
	}
	return len(line)
}

// parseSeries reads name{label="value"} or {"name",label="value"}.
func parseSeries(s string) (labels.Labels, error) {
	p := text{s: s}
	b := labels.NewScratchBuilder(8)
	if name := p.name("{ "); name != "" {
		b.Add(model.MetricNameLabel, name)
	}
	p.skip(" ")
	if p.skip("{") {
		p.labels(&b)
	}
	if p.err != nil || p.s != "" {
		return labels.EmptyLabels(), fmt.Errorf("malformed series %.200q", s)
	}
	return build(&b)
}
