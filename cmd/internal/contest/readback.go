package contest

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// readings counts what came back of what was written.
type readings struct {
	Written int64  `json:"written"`
	Lost    int64  `json:"lost"`
	Changed int64  `json:"changed"` // another value, bit for bit
	Strange int64  `json:"strange"` // another time
	First   string `json:"first,omitempty"`
}

func (r *readings) fault(n *int64, format string, args ...any) {
	*n++
	if r.First == "" {
		r.First = fmt.Sprintf(format, args...)
	}
}

// match compares the samples of a series, both in order of time.
func (r *readings) match(series string, want, got []Point) {
	i := 0
	for _, w := range want {
		r.Written++
		for ; i < len(got) && got[i].T < w.T; i++ {
			r.fault(&r.Strange, "%s has a sample at %d, when none was written", series, got[i].T)
		}
		if i == len(got) || got[i].T != w.T {
			r.fault(&r.Lost, "%s has no sample at %d", series, w.T)
			continue
		}
		if math.Float64bits(got[i].V) != math.Float64bits(w.V) {
			r.fault(&r.Changed, "%s at %d is %v, written was %v", series, w.T, got[i].V, w.V)
		}
		i++
	}
	for ; i < len(got); i++ {
		r.fault(&r.Strange, "%s has a sample at %d, when none was written", series, got[i].T)
	}
}

// readRaw reads the samples of one series within (from, to], in ms.
func readRaw(ctx context.Context, c *bench.Client, selector string, from, to int64) ([]Point, error) {
	body, _, err := c.Ask(ctx, bench.Instant("raw samples", fmt.Sprintf("%s[%dms]", selector, to-from), to))
	if err != nil {
		return nil, err
	}
	a, err := parseAnswer(body)
	if err != nil {
		return nil, err
	}
	if len(a) > 1 {
		return nil, fmt.Errorf("%s selects %d series, want 1", selector, len(a))
	}
	for _, points := range a {
		return points, nil
	}
	return nil, nil
}

// readBack reads some series whole, or the first hours of long ones, and holds them against the workload.
func (b *bout) readBack(ctx context.Context, s workload.Shape, numbers []int) error {
	if b.rival.show != nil {
		if err := b.rival.show(ctx, b.url); err != nil {
			return err
		}
	}
	client := bench.NewClient(b.url)
	defer client.Close()
	steps := min(s.Samples, 20_000)
	from, to := s.Start-1, s.Time(steps-1)
	var r readings
	for _, n := range numbers {
		w := s.Walker(n)
		want := make([]Point, steps)
		for i := range want {
			want[i] = Point{s.Time(i), w.Next()}
		}
		got, err := readRaw(ctx, client, selector(workload.Labels(n)), from, to)
		if err != nil {
			return err
		}
		r.match(workload.Labels(n).String(), want, got)
	}
	b.judgeReadings(r)
	return nil
}

// judgeReadings reports what is lost or not as it was. VictoriaMetrics promises no exact values, so that a changed one
// is noted there.
func (b *bout) judgeReadings(r readings) {
	b.raw("read back", r)
	if r.Changed > 0 && r.Lost+r.Strange == 0 && b.rival.Name == VictoriaMetrics {
		b.report.note("%s: %s changed %d of %d values, the first: %s", b.load.name, b.rival.Title, r.Changed, r.Written, r.First)
		return
	}
	if r.Lost+r.Changed+r.Strange > 0 {
		b.report.disagree("%s: of %d samples read back from %s %d are lost, %d changed and %d strange, the first: %s",
			b.load.name, r.Written, b.rival.Title, r.Lost, r.Changed, r.Strange, r.First)
	}
}

// selector selects exactly one series.
func selector(ls labels.Labels) string {
	var matchers []string
	ls.Range(func(l labels.Label) { matchers = append(matchers, fmt.Sprintf("%s=%q", l.Name, l.Value)) })
	return "{" + strings.Join(matchers, ",") + "}"
}

// some picks numbers of series that lie far from each other.
func some(count, of int) []int {
	numbers := make([]int, 0, count)
	for i := range count {
		numbers = append(numbers, i*of/count+i%10)
	}
	return numbers
}
