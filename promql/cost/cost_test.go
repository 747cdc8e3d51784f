package cost_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/promql/cost"
)

func Example() {
	expr, _ := parser.NewParser(parser.Options{}).ParseExpr("max_over_time(up[10y:1ms])")
	fmt.Println(cost.Subqueries(expr, time.Hour, time.Minute))
	// Output: the subqueries of the query have 315363600001 steps, at most 5000000 are allowed: make their steps longer
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		name, query string
		ok          bool
	}{
		{"short", "up", true},
		{"a long regular expression", `up{a=~"` + strings.Repeat("host|", 50_000) + `"}`, true},
		{"too long", strings.Repeat("a", 1<<19), false},
		{"a long chain", strings.Repeat("1+", 20_000) + "1", false},
		{"many words", "sum(" + strings.Repeat("metric_name_of_some_length or ", 4000) + "up)", true},
		{"parentheses", strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000), false},
		{"signs", strings.Repeat("-", 20_000) + "1", false},
		{"a lexer's error", strings.Repeat(" ", 20_000) + "\x00", true},
		{"groups", `{a=~"` + strings.Repeat("(a|b)?", 5_000) + `"}`, false},
		{"groups in label_replace", `label_replace(a, "b", "$1", 'c', '` + strings.Repeat("(a|b)?", 5_000) + `')`, false},
		{"groups, repeated", "{a=~`(" + strings.Repeat("(a?)", 40) + "){1000}`}", false},
		{"groups after an error", `\x00"` + strings.Repeat("(a|b)?", 5_000) + `"`, true},
	} {
		if err := cost.Text(c.query); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := cost.Text(strings.Repeat("a", 200_000), strings.Repeat("a", 200_000)); err == nil {
		t.Error("two long selectors")
	}
}

func TestMatchers(t *testing.T) {
	for _, c := range []struct {
		name, re string
		ok       bool
	}{
		{"short", "a.*", true},
		{"long, literal", strings.Repeat("host-1234\\.example|", 10_000) + "x", true},
		{"long, in one group", "(" + strings.Repeat("host-1234|", 10_000) + "x)", true},
		{"many groups", strings.Repeat("(a|b)?", 5_000), false},
		{"some groups", strings.Repeat("(a|b)?", 500), true},
		{"the same without groups", strings.Repeat("(?:a|b)?", 5_000), true},
		{"short and repeated", strings.Repeat("(a?)", 10) + "{1000}", true},
		{"repeated as a whole", "(" + strings.Repeat("(a?)", 40) + "){1000}", false},
	} {
		m, err := labels.NewMatcher(labels.MatchRegexp, "a", c.re)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := cost.Matchers(m); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := cost.Matchers(labels.MustNewMatcher(labels.MatchEqual, "a", strings.Repeat("(a|b)?", 5_000))); err != nil {
		t.Error("not a regular expression:", err)
	}
}

func TestSubqueries(t *testing.T) {
	for _, c := range []struct {
		name, query string
		ok          bool
	}{
		{"none", "sum(rate(a[5m]))", true},
		{"a usual one", "max_over_time(rate(a[5m])[7d:1m])", true},
		{"one without a step", "max_over_time(rate(a[5m])[1y:])", true},
		{"a long one", "max_over_time(a[50d:1s])", true},
		{"too long", "max_over_time(a[60d:1s])", false},
		{"nested", "max_over_time(max_over_time(a[1d:1s])[60d:1m])", false},
		{"many", "1" + strings.Repeat("+max_over_time(a[5d:1s])", 20), false},
		{"far beyond a duration", "max_over_time(max_over_time(max_over_time(a[250y:1y])[250y:1y])[250y:1y])", true},
	} {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(c.query)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := cost.Subqueries(expr, 0, time.Minute); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for depth, ok := range map[int]bool{10: true, 300: true, 3000: false} {
		query := strings.Repeat("(", depth) + "1" + strings.Repeat(")", depth)
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil {
			t.Fatal(err)
		}
		if err := cost.Format(expr, query); (err == nil) != ok {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}
