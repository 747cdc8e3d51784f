package vector

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// hourOf is a plan of an hour of the data of tests.
func hourOf(t testing.TB, text string) *plan {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := (steps{start: dataStart + 3*3600_000, step: 60_000, n: 61, lookback: 5 * time.Minute, ranks: true}).planOf(e, false)
	if !ok {
		t.Fatal(text)
	}
	return p
}

func requestOf(t testing.TB, p *plan) []byte {
	t.Helper()
	b, err := p.request()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a node has comes to the same whether it evaluates it for itself or for another.
func TestAnswererEvaluatesAsItsNode(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	a := NewAnswerer(s, AnswererOptions{})
	e := New(newProm(50_000_000), s, Options{})
	for _, text := range []string{"sum by (device_id) (rate(requests_total[5m]))", "avg(drift)", "min without (device_id) (max_over_time(drift[20m]))"} {
		p := hourOf(t, text)
		b, err := a.Evaluate(t.Context(), requestOf(t, p))
		if err != nil {
			t.Fatal(err)
		}
		got, seen, err := p.decode(b)
		var odd bool
		if odd = errors.Is(err, errTogether); err != nil && !odd { // some series of the data have metadata
			t.Fatalf("%s: %v", text, err)
		}
		if odd {
			continue
		}
		n := p.newNames()
		n.seen[n.fixed] = seen
		g := newGathered(p, 1<<20)
		if err := g.add(got, &n, 0); err != nil {
			t.Fatal(err)
		}
		want, err := e.direct(t.Context(), p, &budget{max: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		q := hourly(text)
		if err := differ(q, (&answer{matrix: sorted(g.answer().matrix)}).as(), (&answer{matrix: sorted(want.matrix)}).as()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func (a *answer) as() *prom.Result { return &prom.Result{Value: a.matrix} }

func sorted(m prom.Matrix) prom.Matrix {
	out := append(prom.Matrix{}, m...)
	for i := range out {
		for k := i; k > 0 && labels.Compare(out[k].Metric, out[k-1].Metric) < 0; k-- {
			out[k], out[k-1] = out[k-1], out[k]
		}
	}
	return out
}

// An answer that would be large, or that needs too many samples, is not made.
func TestAnswererIsBounded(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	p := hourOf(t, "sum by (site) (celsius)")
	for _, row := range []struct {
		o    AnswererOptions
		want byte
	}{{AnswererOptions{}, answerRows}, {AnswererOptions{MaxBytes: 2000}, answerTogether}, {AnswererOptions{MaxSamples: 200}, answerMany}} {
		b, err := NewAnswerer(s, row.o).Evaluate(t.Context(), requestOf(t, p))
		if err != nil || b[0] != row.want {
			t.Errorf("%+v: %.20x, %v", row.o, b, err)
		}
	}
}

// blocked lets a scan begin and waits with it until the context ends.
type blocked struct{ begun chan struct{} }

func (b blocked) Scan(ctx context.Context, _, _ int64, _ ...*labels.Matcher) (Selection, error) {
	b.begun <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

// More evaluations than there may be at a time wait, and no longer than they may.
func TestAnswererSlots(t *testing.T) {
	b := blocked{make(chan struct{}, 2)}
	a := NewAnswerer(b, AnswererOptions{Concurrency: 1, Timeout: time.Minute})
	request := requestOf(t, hourOf(t, "sum(celsius)"))
	first, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := a.Evaluate(first, request)
		done <- err
	}()
	<-b.begun
	second, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Evaluate(second, request); !errors.Is(err, context.DeadlineExceeded) || len(b.begun) > 0 {
		t.Errorf("error %v, %d more have begun", err, len(b.begun))
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	a.o.Timeout = 20 * time.Millisecond
	if _, err := a.Evaluate(t.Context(), request); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A mistake in the evaluation for another node ends that alone.
func TestAnswererPanics(t *testing.T) {
	s := scanner{randomStore(t, rand.New(rand.NewPCG(1, 1)))}
	for _, text := range []string{"sum(celsius)", "topk(2, celsius)"} {
		if _, err := NewAnswerer(broken{s}, AnswererOptions{}).Evaluate(t.Context(), requestOf(t, hourOf(t, text))); err == nil {
			t.Errorf("%s has an answer", text)
		}
	}
}

// The steps of a plan up to a time and those after it are all of them, and have the same windows.
func TestPlansAreDivided(t *testing.T) {
	p := hourOf(t, "sum(rate(celsius[7m]))")
	for _, before := range []int64{-1 << 62, p.grid.start - 1, p.grid.start, p.grid.start + 1, p.grid.at(5), p.grid.at(5) + 1, p.grid.at(60), p.grid.at(60) + 1, 1<<63 - 1} {
		some, first := p.until(before), p.grid.first(before)
		n := 0
		if some != nil {
			n = some.grid.n
			if some.grid.start != p.grid.start || some.grid.at(n-1) >= before || some.resolution() != p.resolution() {
				t.Errorf("before %d: %+v", before, some.grid)
			}
		}
		if n != first {
			t.Errorf("before %d: %d steps, and the rest from %d on", before, n, first)
		}
		if rest := p.part(first, 61); (rest == nil) != (n == 61) || rest != nil && (rest.grid.start != p.grid.at(n) || rest.grid.start < before || rest.grid.n != 61-n) {
			t.Errorf("from %d on: %+v", before, rest)
		}
	}
}
