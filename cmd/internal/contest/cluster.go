package contest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// ClusterSizes say how much there is to do for clusters.
type ClusterSizes struct {
	Series   int           `json:"series"`
	Samples  int           `json:"samples"` // in all
	Week     time.Duration `json:"week"`    // of 100 sensors at 1 Hz
	Rate     float64       `json:"rate"`    // samples a second while nodes come and go
	Away     time.Duration `json:"away"`    // how long a node is down
	Idle     time.Duration `json:"idle"`    // how long an equal cluster is watched
	Patience time.Duration `json:"patience"`
}

// FullCluster are the sizes that the goals are for; quick ones take some minutes.
var (
	FullCluster = ClusterSizes{Series: 100_000, Samples: 20_000_000, Week: 7 * 24 * time.Hour, Rate: 20_000,
		Away: 5 * time.Minute, Idle: time.Minute, Patience: 3 * time.Second}
	QuickCluster = ClusterSizes{Series: 20_000, Samples: 2_000_000, Week: 12 * time.Hour, Rate: 10_000,
		Away: 20 * time.Second, Idle: 20 * time.Second, Patience: time.Second}
)

// ClusterScenarios are what Only of [ClusterOptions] selects from.
func ClusterScenarios() []string { return []string{"cost", "query", "join", "away"} }

// ClusterOptions are for RunCluster.
type ClusterOptions struct {
	Exe   string   // of minitrue
	Only  []string // of [ClusterScenarios]; empty means all
	Sizes ClusterSizes
	Dir   string // in which every node gets a folder of its own, for as long as it runs
	Keep  bool   // leave the folders there
	Log   func(format string, args ...any)
}

func (o *ClusterOptions) check() error {
	for _, name := range o.Only {
		if !slices.Contains(ClusterScenarios(), name) {
			return fmt.Errorf("scenario %q is none of %s", name, strings.Join(ClusterScenarios(), ", "))
		}
	}
	if z := o.Sizes; z.Series < 2000 || z.Samples < 3*z.Series || z.Week < 2*time.Minute || z.Rate <= 0 || z.Away <= 0 || z.Idle <= 0 {
		return errors.New("the sizes are too small: want at least 2,000 series of 3 samples, 2 m of the week, and a rate and times that are not 0")
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return nil
}

// RunCluster starts clusters of MiniTrue on loopback, one after the other, and measures what they cost. A scenario that fails is
// reported and does not keep the others from theirs; the error is for what makes going on useless.
func RunCluster(ctx context.Context, o ClusterOptions) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("bench cluster: %w", err)
	}
	self := Rivals()[0]
	r := &Report{command: "bench cluster", Date: time.Now(), Machine: machine(), Versions: map[string]string{MiniTrue: moduleVersion(o.Exe)}, Sizes: o.Sizes, rivals: []Rival{self}}
	r.note("all nodes share the machine's %d cores with the load generator; every node keeps its defaults but for what is said", runtime.NumCPU())
	for _, s := range []struct {
		name string
		run  func(context.Context, *trial) error
	}{{"cost", coordinatorCost}, {"query", askCluster}, {"join", joinCluster}, {"away", awayFromCluster}} {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) {
			continue
		}
		err := runTrial(ctx, &trial{o: &o, report: r, name: s.name}, s.run)
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if err != nil {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: %v", s.name, err))
			o.Log("%s: %v", s.name, err)
		}
	}
	return r, nil
}
