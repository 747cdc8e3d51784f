package contest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// asServer makes this test's own executable the server that the tests start.
const asServer = "MINITRUE_CONTEST_TEST"

// TestMain plays a server that takes every write and knows no answer. In the mode "dies" a write is its end.
func TestMain(m *testing.M) {
	mode := os.Getenv(asServer)
	if mode == "" {
		os.Exit(m.Run())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/api/v1/write", func(w http.ResponseWriter, _ *http.Request) {
		if mode == "dies" {
			fmt.Println("out of memory")
			os.Exit(7)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/api/v1/query", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, vector()) })
	fmt.Println(http.ListenAndServe(os.Args[1], mux))
	os.Exit(3)
}

// pretender is a server that this test's own executable plays.
func pretender(t *testing.T, mode string) Rival {
	t.Helper()
	t.Setenv(asServer, mode)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Rival{Name: Prometheus, Title: "Pretender", Exe: exe, ready: "/ready", version: moduleVersion,
		args: func(dir string, ports []int) ([]string, error) {
			return []string{fmt.Sprintf("127.0.0.1:%d", ports[0])}, os.MkdirAll(dir, 0o755)
		}}
}

func tiny(t *testing.T, r ...Rival) Options {
	return Options{Rivals: r, Dir: filepath.Join(t.TempDir(), "work"), Sizes: Sizes{Series: 2000, Samples: 3, Million: 2000, MillionFirst: 2,
		Week: 2 * time.Minute, Churn: 50, ChurnTime: time.Hour, Messages: 10, Patience: time.Millisecond}}
}

// empty fails the test unless nothing is left of the servers.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A server that forgets what it was given is found out.
func TestRunFindsLoss(t *testing.T) {
	o := tiny(t, pretender(t, "forgets"))
	o.Only = []string{"ingest"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) > 0 || len(r.Disagreements) != 1 || !strings.Contains(r.Disagreements[0], "of 60 samples read back from Pretender 60 are lost") {
		t.Errorf("failures %q, disagreements %q", r.Failures, r.Disagreements)
	}
	empty(t, o.Dir)
}

// A server that dies is reported with what it said last, and the others have their turns.
func TestRunReportsDeath(t *testing.T) {
	o := tiny(t, pretender(t, "dies"))
	o.Only = []string{"million", "week"}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Failures) != 2 || r.Err() == nil {
		t.Fatalf("failures %q", r.Failures)
	}
	for _, f := range r.Failures {
		if !strings.Contains(f, "exit status 7") || !strings.Contains(f, "out of memory") {
			t.Errorf("failure %q", f)
		}
	}
	empty(t, o.Dir)
}

// Whoever interrupts the run gets it back at once, and no server lives on.
func TestRunIsInterrupted(t *testing.T) {
	o := tiny(t, pretender(t, "forgets"))
	o.Only = []string{"ingest", "week"}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	o.Log = func(format string, args ...any) {
		if strings.Contains(fmt.Sprintf(format, args...), "ingest:") {
			cancel(enough)
		}
	}
	r, err := Run(ctx, o)
	if !errors.Is(err, enough) || r == nil {
		t.Errorf("report %v, error %v", r, err)
	}
	empty(t, o.Dir)
}

func TestRunRefuses(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"nobody":           func(o *Options) { o.Rivals = nil },
		"unknown scenario": func(o *Options) { o.Only = []string{"x"} },
		"no real series":   func(o *Options) { o.Only = []string{"real"} },
		"few series":       func(o *Options) { o.Sizes.Series = 10 },
		"half seconds":     func(o *Options) { o.Sizes.Week += time.Millisecond },
		"no new samples":   func(o *Options) { o.Sizes.MillionFirst = 0 },
		"short churn":      func(o *Options) { o.Sizes.ChurnTime = time.Minute },
		"no messages":      func(o *Options) { o.Sizes.Messages = 0 },
	} {
		o := tiny(t, Rivals()...)
		change(&o)
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: was accepted", name)
		}
	}
	r := pretender(t, "forgets")
	r.Exe = filepath.Join(t.TempDir(), "none")
	report, err := Run(t.Context(), tiny(t, r))
	if err != nil || len(report.Failures) == 0 || !strings.Contains(report.Failures[0], "start "+r.Exe) {
		t.Errorf("an executable that is not there: %v, %q", err, report.Failures)
	}
}

func TestMerging(t *testing.T) {
	for text, want := range map[string]bool{
		"vm_active_merges{type=\"indexdb\"} 0\nvm_active_force_merges 0\nvm_rows 5\n": false,
		"vm_active_merges{type=\"indexdb\"} 1\nvm_active_force_merges 0\n":            true,
		"vm_active_merges{type=\"indexdb\"} 0\nvm_active_force_merges 1":              true,
	} {
		if merging([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

// What the running sums say of a window is what adding up says.
func TestSumsAreTheTruth(t *testing.T) {
	s := workload.Shape{Series: 1000, Samples: 500, Start: 1_700_000_000_000, Interval: 1000, Seed: 5, Values: workload.Walk}
	numbers := []int{0, 10, 990}
	all := newSums(s, numbers)
	for _, w := range []window{{0, s.End()}, {s.Start - 1000, s.End()}, {s.Start, s.Start + 1000}, {s.Time(17), s.Time(430)}, {s.Time(498), s.End()}} {
		mean, count := all.mean(w)
		wantMean, want := truth(s, numbers, w.from+1, w.to)
		if count != want || relative(mean, wantMean) > tolerance {
			t.Errorf("%v: %v of %d, want %v of %d", w, mean, count, wantMean, want)
		}
	}
}

// A tenth of the series is new in every round, at the round's own times, and no other is.
func TestChurnersReplaceATenth(t *testing.T) {
	s := workload.Shape{Series: 1, Samples: 1000, Start: 1_700_000_000_000, Interval: 60_000, Values: workload.Walk}
	c := newChurners(s, 50)
	before := map[int]bool{}
	for round := range 25 {
		batches, err := c.next(round, round*10)
		if err != nil {
			t.Fatal(err)
		}
		now, fresh := map[int]bool{}, 0
		for _, b := range batches {
			if b.Step() != round*10 {
				t.Fatalf("round %d: a batch stands at step %d", round, b.Step())
			}
			for n := b.First; n < b.Last; n++ {
				now[n] = true
				if !before[n] {
					fresh++
				}
			}
			for range 10 {
				b.Append(nil)
			}
		}
		if want := map[bool]int{true: 50, false: 5}[round == 0]; len(now) != 50 || fresh != want {
			t.Fatalf("round %d: %d series, %d new", round, len(now), fresh)
		}
		before = now
	}
}

func TestEnough(t *testing.T) {
	const patience = time.Second
	for _, row := range []struct {
		times int
		took  time.Duration
		want  bool
	}{
		{4, time.Hour, false}, {5, 5 * patience, true}, {19, 2 * patience, false}, {20, 2 * patience, true}, {20, patience / 2, false},
		{mostTimes - 1, patience / 2, false}, {mostTimes, patience / 2, true},
	} {
		if got := enough(row.times, row.took, patience); got != row.want {
			t.Errorf("%d askings in %v: %v", row.times, row.took, got)
		}
	}
}
