package format

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// ReadJSON reads JSON lines, ours and those that VictoriaMetrics exports. Positions are lines.
func ReadJSON(r io.Reader, from int64, emit Emit, mark Mark) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), MaxLine)
	samples, n := 0, int64(0)
	for sc.Scan() {
		n++
		if n <= from || len(sc.Bytes()) == 0 {
			continue
		}
		one, err := parseJSONLine(sc.Bytes())
		if err != nil {
			return fmt.Errorf("read JSON lines: line %d: %w", n, err)
		}
		if one.Len() > 0 {
			if err := emit(one); err != nil {
				return err
			}
		}
		if samples += one.Len(); samples >= markEvery {
			samples = 0
			if err := mark(n); err != nil {
				return err
			}
		}
	}
	if err := sc.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("it has more than %d bytes: export shorter lines, of VictoriaMetrics by max_rows_per_line=100000", MaxLine)
		}
		return fmt.Errorf("read JSON lines: line %d: %w", n+1, err)
	}
	return mark(n)
}

func parseJSONLine(b []byte) (*flow.Run, error) {
	var line struct {
		Metric     map[string]string `json:"metric"`
		Values     []num             `json:"values"`
		Timestamps []int64           `json:"timestamps"`
		Histograms []jsonHistogram   `json:"histograms"`
	}
	if err := json.Unmarshal(b, &line); err != nil {
		return nil, err
	}
	if len(line.Values) != len(line.Timestamps) {
		return nil, fmt.Errorf("%d values and %d timestamps", len(line.Values), len(line.Timestamps))
	}
	sb := labels.NewScratchBuilder(len(line.Metric))
	for name, v := range line.Metric {
		if v != "" {
			sb.Add(name, v)
		}
	}
	ls, err := build(&sb)
	if err != nil {
		return nil, err
	}
	r := &flow.Run{Labels: ls, Floats: make([]series.Sample, len(line.Values))}
	for i, v := range line.Values {
		r.Floats[i] = series.Sample{T: line.Timestamps[i], V: float64(v)}
	}
	for i := range line.Histograms {
		h, err := line.Histograms[i].histogram()
		if err != nil {
			return nil, fmt.Errorf("histogram at %d: %w", line.Histograms[i].T, err)
		}
		r.Histograms = append(r.Histograms, h)
	}
	return r, nil
}
