package vector

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// sent is a plan that another node is asked to evaluate.
func sent(t testing.TB, text string, n int) *plan {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := (steps{start: dataStart, step: 60_000, n: n, lookback: 300_000_000_000, ranks: true}).planOf(e, false)
	if !ok || !p.sendable() {
		t.Fatalf("%s is not for other nodes", text)
	}
	return p
}

var sentTexts = []string{
	"sum(m)", `avg by (site) (rate(m{a!="b",c=~"d|e",f!~"g"}[5m] offset 1h))`, "count without (site) (last_over_time(m[7m]))", "min by (site, a, a) (m)",
	"group(present_over_time(m[1h]))", "max(delta(m[1h]))", "topk(3, m)", "bottomk by (site) (1000, increase(m[2h]))",
}

// A plan is the same on the other side, but for where its text was.
func TestPlansTravel(t *testing.T) {
	for _, text := range sentTexts {
		p := sent(t, text, 7)
		b, err := p.request()
		if err != nil {
			t.Fatal(err)
		}
		got, err := planFrom(b)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		again, err := got.request()
		if err != nil || !bytes.Equal(again, b) || got.grid != p.grid || got.agg != p.agg || got.fn != p.fn || got.k != p.k || got.resolution() != p.resolution() {
			t.Errorf("%s came as %s, %v, %+v", text, again, err, got)
		}
	}
}

// What a node cannot evaluate, or should not, is refused before anything is read.
func TestPlansThatAreRefused(t *testing.T) {
	good := `{"Start":1,"Step":60000,"Back":300000,"Steps":5,"Resolution":0,"Function":"","Window":0,"Matchers":[{"Type":0,"Name":"__name__","Value":"m"}],"Aggregation":"sum","K":0,"By":["site"],"Without":false}`
	if _, err := planFrom([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, row := range [][2]string{
		{`"Steps":5`, `"Steps":0`}, {`"Steps":5`, `"Steps":1000000000`}, {`"Steps":5`, `"Steps":-1`}, {`"Step":60000`, `"Step":0`},
		{`"Step":60000`, `"Step":9000000000000000000`}, {`"Start":1`, `"Start":-9223372036854775808`}, {`"Back":300000`, `"Back":0`},
		{`"Back":300000`, `"Back":9223372036854775807`}, {`"Resolution":0`, `"Resolution":-1`}, {`"Function":""`, `"Function":"deriv"`},
		{`"Aggregation":"sum"`, `"Aggregation":"quantile"`}, {`"Aggregation":"sum"`, `"Aggregation":""`}, {`"Aggregation":"sum"`, `"Aggregation":"topk"`},
		{`"K":0`, `"K":3`}, {`"K":0`, `"K":-1`}, {`"Name":"__name__"`, `"Name":"other"`}, {`"Type":0`, `"Type":9`}, {`"Type":0`, `"Type":2`},
		{`"By":["site"]`, `"By":["b","a"]`}, {`"K":0`, `"Later":1`}, {`"By":["site"]`, `"By":"site"`}, {`"Window":0`, `"Window":"NaN"`},
		{`"Value":"m"}`, `"Value":"m"},{"Type":2,"Name":"x","Value":"((((a{1000}){1000}){1000}){1000}"}`},
		{`"Value":"m"}`, `"Value":"m"},{"Type":2,"Name":"x","Value":"(a{900}b{900}c{900}){9}"}`},
	} {
		bad := strings.Replace(good, row[0], row[1], 1)
		if p, err := planFrom([]byte(bad)); err == nil && bad != good {
			t.Errorf("%s was read as %+v", bad, p)
		}
	}
}

// someSum is what a plan without a ranking comes to.
func someSum(p *plan) *sum {
	s := &sum{partial: newPartial(p.agg, 0, p.grid.n), labels: []labels.Labels{labels.EmptyLabels(), labels.FromStrings("a", "b", "site", "s1")}}
	for row := range s.labels {
		s.grow()
		s.first[row] = int32(row)
		for k := row; k < p.grid.n; k++ {
			at := row*p.grid.n + k
			s.v[at] = []float64{1.5, math.Inf(1), math.NaN(), math.Copysign(0, -1), 1e300}[k%5]
			if s.c != nil && row > 0 {
				s.c[at] = 1e-9
			}
			if s.n != nil {
				s.n[at] = float64(k + 1)
			}
		}
	}
	return s
}

func someTops() *tops {
	return &tops{labels: []labels.Labels{labels.FromStrings("a", "b"), labels.FromStrings("a", "c")}, points: [][]point{{{0, 1}, {3, math.NaN()}}, {{6, -2}}}}
}

func someShare(p *plan) share {
	if p.k > 0 {
		return someTops()
	}
	return someSum(p)
}

// Answers are the same on the other side, and a byte more or less of one is no answer.
func TestAnswersTravel(t *testing.T) {
	for _, text := range sentTexts {
		p := sent(t, text, 7)
		n := p.newNames()
		n.seen["m"] = true
		b := p.encode(someShare(p), &n)
		got, seen, err := p.decode(b)
		if err != nil || !seen {
			t.Fatalf("%s: %v, %v", text, seen, err)
		}
		if again := p.encode(got, &n); !bytes.Equal(again, b) {
			t.Errorf("%s: %x came back as %x", text, b, again)
		}
		for i := range b {
			if s, _, err := p.decode(b[:i]); err == nil && bytes.Equal(p.encode(s, &n), b) {
				t.Errorf("%s: the first %d bytes are as good as all", text, i)
			}
		}
		if _, _, err := p.decode(append(b, 0)); !errors.Is(err, errAnswer) {
			t.Errorf("%s: with a byte more: %v", text, err)
		}
		if _, _, err := sent(t, text, 8).decode(b); !errors.Is(err, errAnswer) {
			t.Errorf("%s: of other steps: %v", text, err)
		}
	}
}

func TestAnswersWithoutRows(t *testing.T) {
	p := sent(t, "sum(m)", 7)
	var many prom.ErrTooManySamples
	for kind, is := range map[byte]func(error) bool{
		answerUnfit:    func(err error) bool { return errors.Is(err, errUnfit) },
		answerTogether: func(err error) bool { return errors.Is(err, errTogether) },
		answerMany:     func(err error) bool { return errors.As(err, &many) },
		9:              func(err error) bool { return errors.Is(err, errAnswer) },
	} {
		if _, _, err := p.decode([]byte{kind}); !is(err) {
			t.Errorf("the kind %d is %v", kind, err)
		}
	}
}

// These bytes are in what nodes of other releases say.
func TestGoldenAnswers(t *testing.T) {
	for text, want := range map[string]string{
		"topk(3, m)": "000007080a060a01611201620200000000000000f03f03010000000000f87f080a060a0161120163010600000000000000c0",
		"avg(m)": "00000700000000000000f83f000000000000f07f010000000000f87f00000000000000809c7500883ce4377e000000000000f83f000000000000f07f" +
			"0001020304050607140a060a01611201620a0a0a047369746512027331020000000000f07f000000000000f07f010000000000f87f00000000000000" +
			"809c7500883ce4377e000000000000f83f000000000000f07f01000000000000000095d626e80b2e113e95d626e80b2e113e95d626e80b2e113e95d6" +
			"26e80b2e113e95d626e80b2e113e95d626e80b2e113e00020304050607",
	} {
		p := sent(t, text, 7)
		n := p.newNames()
		if got := hex.EncodeToString(p.encode(someShare(p), &n)); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, text := range sentTexts {
		b, err := sent(f, text, 7).request()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := planFrom(b)
		if err != nil {
			return
		}
		lo, hi := p.grid.span()
		if lo > hi {
			t.Fatalf("%s is about [%d, %d]", b, lo, hi)
		}
		again, err := p.request()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := planFrom(again); err != nil {
			t.Fatalf("%s is good and %s is not: %v", b, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	var plans []*plan
	for _, text := range sentTexts {
		p := sent(f, text, 7)
		n := p.newNames()
		plans = append(plans, p)
		f.Add(len(plans)-1, p.encode(someShare(p), &n))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		if i < 0 || i >= len(plans) {
			return
		}
		p := plans[i]
		s, _, err := p.decode(b)
		if err != nil {
			return
		}
		g := newGathered(p, 1000)
		n := p.newNames()
		err = g.add(s, &n, 0)
		if err == nil {
			err = g.add(s, &n, 0) // the groups are known then
		}
		if err == nil {
			for _, s := range g.answer().matrix {
				if len(s.Floats) == 0 || len(s.Floats) > p.grid.n {
					t.Fatalf("%s has %d points", s.Metric, len(s.Floats))
				}
			}
		}
	})
}
