package contest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Sizes say how much there is to do.
type Sizes struct {
	Series       int           `json:"series"`        // of the fleet
	Samples      int           `json:"samples"`       // of each of them
	Million      int           `json:"million"`       // series that are all new
	MillionFirst int           `json:"million_first"` // samples of each of them
	MillionMore  int           `json:"million_more"`  // that come afterwards, for the bound of memory; 0 means none
	Week         time.Duration `json:"week"`          // of 100 sensors at 1 Hz
	Churn        int           `json:"churn"`         // active series
	ChurnTime    time.Duration `json:"churn_time"`    // that is simulated
	Messages     int           `json:"messages"`      // over MQTT
	Patience     time.Duration `json:"patience"`      // for the repetitions of one question
}

// Full are the sizes that the goals are for; Quick ones take a few minutes.
var (
	Full = Sizes{Series: 100_000, Samples: 360, Million: 1_000_000, MillionFirst: 10, Week: 7 * 24 * time.Hour,
		Churn: 20_000, ChurnTime: 24 * time.Hour, Messages: 1_000_000, Patience: 3 * time.Second}
	Quick = Sizes{Series: 20_000, Samples: 360, Million: 200_000, MillionFirst: 10, Week: 12 * time.Hour,
		Churn: 5_000, ChurnTime: 6 * time.Hour, Messages: 100_000, Patience: time.Second}
)

// Options say who takes part in what.
type Options struct {
	Rivals    []Rival
	Only      []string // figures that are wanted, of [Scenarios]; empty means all
	Sizes     Sizes
	SeriesDir string // folder of CSV files with real series; "" leaves them out
	Dir       string // in which every server gets a folder of its own, for as long as it runs
	Keep      bool   // leave the folders there
	Profiles  string // folder for CPU profiles of every server under every load and question; "" means none
	Procs     int    // GOMAXPROCS of every server; 0 means all
	Log       func(format string, args ...any)
}

// Scenarios are what Only selects from.
func Scenarios() []string {
	return []string{"ingest", "queries", "million", "week", "real", "churn", "start", "mqtt"}
}

func (o *Options) check() error {
	for _, name := range o.Only {
		if !slices.Contains(Scenarios(), name) {
			return fmt.Errorf("scenario %q is none of %s", name, strings.Join(Scenarios(), ", "))
		}
	}
	if o.SeriesDir == "" && slices.Equal(o.Only, []string{"real"}) {
		return fmt.Errorf("scenario real needs a folder of series")
	}
	s := o.Sizes
	switch {
	case s.Series < 2000 || s.Samples < 3:
		return fmt.Errorf("%d series of %d samples: want at least 2,000 of 3", s.Series, s.Samples)
	case s.Million < 2000 || s.MillionFirst < 2 || s.MillionMore < 0:
		return fmt.Errorf("%d new series of %d and %d samples: want at least 2,000 of 2", s.Million, s.MillionFirst, s.MillionMore)
	case s.Week < 2*time.Minute || s.Week%time.Second != 0:
		return fmt.Errorf("%v of sensors at 1 Hz: want whole seconds, at least 2 m", s.Week)
	case s.Churn < churnBatches || s.ChurnTime < time.Hour:
		return fmt.Errorf("churn of %d series for %v: want at least %d for an hour", s.Churn, s.ChurnTime, churnBatches)
	case s.Messages < 1:
		return fmt.Errorf("%d messages: want at least 1", s.Messages)
	}
	if len(o.Rivals) == 0 {
		return fmt.Errorf("nobody takes part")
	}
	if o.Procs == 0 {
		o.Procs = runtime.NumCPU()
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	return nil
}

// wants says whether any of these scenarios is to be reported.
func (o *Options) wants(names ...string) bool {
	return len(o.Only) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(o.Only, n) })
}
