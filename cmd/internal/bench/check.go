package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// CheckReport compares what was acknowledged with what is there.
type CheckReport struct {
	Acked   int64    `json:"acked"`   // samples in the log
	Read    int64    `json:"read"`    // samples that the server has of these series
	Lost    int64    `json:"lost"`    // acknowledged, and not there
	Changed int64    `json:"changed"` // there with another value than was sent
	Doubled int64    `json:"doubled"` // there more than once
	Strange int64    `json:"strange"` // there, and never sent: another time, other labels
	Faults  []string `json:"faults"`  // the first few, for a person
}

const maxFaults = 20

func (r *CheckReport) fault(n *int64, format string, args ...any) {
	*n++
	if len(r.Faults) < maxFaults {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Err is nil if every acknowledged sample is there once and as it was sent.
func (r *CheckReport) Err() error {
	if r.Lost+r.Changed+r.Doubled+r.Strange == 0 {
		return nil
	}
	return fmt.Errorf("of %d acknowledged samples %d are lost; %d are changed, %d doubled, %d strange",
		r.Acked, r.Lost, r.Changed, r.Doubled, r.Strange)
}

// CheckOptions say what to check.
type CheckOptions struct {
	URL   string         // of the server, or its whole remote_read URL
	Shape workload.Shape // of the load
	Acked []Acked        // what was acknowledged
	Read  int            // series a request; 0 means 500
}

// checker verifies one run of series after the other.
type checker struct {
	CheckOptions
	remoteReader
	report CheckReport
}

// Check reads every series with an acknowledged sample by remote_read. Samples that were sent and
// not acknowledged may be there or not, but if they are, they must be as they were sent.
func Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	if o.Read == 0 {
		o.Read = 500
	}
	target, err := Endpoint(o.URL, "/api/v1/read")
	if err != nil {
		return CheckReport{}, fmt.Errorf("check: %w", err)
	}
	c := &checker{CheckOptions: o, remoteReader: remoteReader{newClient(1), target}}
	defer c.client.CloseIdleConnections()
	for _, r := range runs(o.Shape, o.Acked) {
		for first := r.first; first < r.last; first += o.Read {
			if err := c.check(ctx, first, min(first+o.Read, r.last), r.steps); err != nil {
				return c.report, fmt.Errorf("check series from %d: %w", first, err)
			}
		}
	}
	return c.report, nil
}

// run is a run of series that always travelled together.
type run struct {
	first, last int
	steps       []bool // by step: was it acknowledged?
}

// runs gathers the log by run. A request that was noted twice counts once.
func runs(s workload.Shape, acked []Acked) []run {
	byRange := map[[2]int]run{}
	for _, a := range acked {
		key := [2]int{a.First, a.Last}
		r, ok := byRange[key]
		if !ok {
			r = run{a.First, a.Last, make([]bool, s.Samples)}
			byRange[key] = r
		}
		r.steps[a.Step] = true
	}
	all := make([]run, 0, len(byRange))
	for _, r := range byRange {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	return all
}

// check reads series [first, last) and compares them.
func (c *checker) check(ctx context.Context, first, last int, steps []bool) error {
	got := make([][]sample, last-first)
	var lastLabels labels.Labels
	n, known := 0, false
	err := c.read(ctx, c.query(first, last), func(ls labels.Labels, t int64, v float64) {
		if !labels.Equal(ls, lastLabels) {
			lastLabels = ls.Copy()
			n, known = workload.Lookup(ls)
		}
		switch {
		case !known:
			c.report.fault(&c.report.Strange, "series %s was never sent", ls)
		case n >= first && n < last: // others of the same devices have their own turn
			got[n-first] = append(got[n-first], sample{t, v})
		}
	})
	if err != nil {
		return err
	}
	for i, samples := range got {
		c.series(first+i, samples, steps)
	}
	return nil
}

type sample struct {
	t int64
	v float64
}

func (c *checker) query(first, last int) *prompb.Query {
	var devices []string
	for n := first; n < last; n++ {
		if d := workload.Device(n); len(devices) == 0 || devices[len(devices)-1] != d {
			devices = append(devices, d)
		}
	}
	margin := time.Hour.Milliseconds() // samples that were never sent would show themselves there
	return &prompb.Query{
		StartTimestampMs: c.Shape.Start - margin,
		EndTimestampMs:   c.Shape.End() + margin,
		Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_RE, Name: model.MetricNameLabel, Value: strings.Join(workload.Metrics(), "|")},
			{Type: prompb.LabelMatcher_RE, Name: "device_id", Value: strings.Join(devices, "|")},
		},
	}
}

// series compares the samples of one series, which may come in any order, with its walk.
func (c *checker) series(n int, got []sample, steps []bool) {
	r, s := &c.report, c.Shape
	slices.SortStableFunc(got, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	r.Read += int64(len(got))
	w := s.Walker(n)
	i := 0
	for step, acked := range steps {
		t, want := s.Time(step), w.Next()
		if acked {
			r.Acked++
		}
		for ; i < len(got) && got[i].t < t; i++ {
			r.fault(&r.Strange, "series %s has a sample at %d, when none was sent", workload.Labels(n), got[i].t)
		}
		found := 0
		for ; i < len(got) && got[i].t == t; i++ {
			if found++; math.Float64bits(got[i].v) != math.Float64bits(want) {
				r.fault(&r.Changed, "series %s at %d (step %d) is %v, sent was %v", workload.Labels(n), t, step, got[i].v, want)
			}
		}
		switch {
		case found == 0 && acked:
			r.fault(&r.Lost, "series %s has no sample at %d (step %d), which was acknowledged", workload.Labels(n), t, step)
		case found > 1:
			r.fault(&r.Doubled, "series %s has %d samples at %d (step %d)", workload.Labels(n), found, t, step)
		}
	}
	for ; i < len(got); i++ {
		r.fault(&r.Strange, "series %s has a sample at %d, when none was sent", workload.Labels(n), got[i].t)
	}
}
