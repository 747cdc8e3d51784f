package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// numbers is a source of samples 0 to n-1 that marks every third.
type numbers struct {
	n    int64
	name string
}

func (s numbers) Name() string { return s.name }

func (s numbers) Read(_ context.Context, from int64, emit func(*flow.Run) error, mark func(int64) error) error {
	for i := from; i < s.n; i++ {
		if i%3 == 0 && i > from {
			if err := mark(i); err != nil {
				return err
			}
		}
		if err := emit(&flow.Run{Labels: labels.FromStrings("a", "b"), Floats: []series.Sample{{T: i}}}); err != nil {
			return err
		}
	}
	return mark(s.n)
}

// sink dies at its nth call; what was not flushed by then is lost.
type sink struct {
	left    int
	waiting []int64
	got     map[int64]bool
}

var errDead = errors.New("dead")

func (s *sink) step() error {
	if s.left--; s.left < 0 {
		return errDead
	}
	return nil
}

func (s *sink) Send(r *flow.Run) error {
	s.waiting = append(s.waiting, r.Floats[0].T)
	return s.step()
}

func (s *sink) Flush() error {
	if err := s.step(); err != nil {
		return err
	}
	for _, t := range s.waiting {
		s.got[t] = true
	}
	s.waiting = nil
	return nil
}

// However often a transfer dies, and wherever, what is sent until it ends is everything.
func TestNothingIsLost(t *testing.T) {
	for left := 1; left < 40; left++ {
		o := Options{State: filepath.Join(t.TempDir(), "state"), Every: -1}
		got := map[int64]bool{}
		dead := 0
		for ; ; dead++ {
			err := Run(t.Context(), numbers{20, "numbers"}, &sink{left: left + dead, got: got}, o)
			if err == nil {
				break
			}
			if !errors.Is(err, errDead) {
				t.Fatal(err)
			}
		}
		for i := range int64(20) {
			if !got[i] {
				t.Fatalf("dying %d times after %d steps lost %d", dead, left, i)
			}
		}
		again := &sink{left: 100, got: map[int64]bool{}}
		if err := Run(t.Context(), numbers{20, "numbers"}, again, o); err != nil || len(again.got) > 0 {
			t.Fatalf("all of it again: %v, %d samples", err, len(again.got))
		}
		left, err := os.ReadDir(filepath.Dir(o.State))
		if err != nil || len(left) != 1 {
			t.Errorf("left are %v, %v", left, err)
		}
	}
}

func TestStates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	with := func(name, content string) error {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return Run(t.Context(), numbers{20, name}, &sink{left: 100, got: map[int64]bool{}}, Options{State: path})
	}
	for _, row := range [][3]string{
		{"x", `{"source":"y","position":3}`, `is of "y"`}, {"x", `{`, "remove it"}, {"", `{}`, "but once"}, {"x", `{"source":"x","position":3}`, ""},
	} {
		err := with(row[0], row[1])
		if (err == nil) != (row[2] == "") || err != nil && !strings.Contains(err.Error(), row[2]) {
			t.Errorf("%q: %v", row, err)
		}
	}
	without := &sink{left: 100, got: map[int64]bool{}}
	if err := Run(t.Context(), numbers{20, ""}, without, Options{}); err != nil || len(without.got) != 20 {
		t.Error(err)
	}
}
