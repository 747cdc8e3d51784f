package cost

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

const (
	maxText     = 256 << 10     // bytes of a query, or of all selectors of a request: a regular expression takes seconds to parse beyond
	maxTokens   = 10_000        // of a query; a token is at most one level of recursion
	maxSteps    = 5_000_000     // of all subqueries of a query; 16 bytes each
	maxThreads  = 8_000_000     // words that matching one regular expression may take
	maxFormat   = 1_000_000_000 // depth² × length; a nanosecond or so each
	shortRegexp = 64            // bytes; a shorter one without repetition is cheap
)

// Text refuses queries or selectors that are too long, have too many tokens or a
// regular expression that takes too much memory to match. Ask it before
// parsing, since the parser already matches.
func Text(queries ...string) error {
	n := 0
	for _, q := range queries {
		n += len(q)
	}
	if n > maxText {
		return fmt.Errorf("the query has %d bytes, at most %d are allowed", n, maxText)
	}
	for _, q := range queries {
		if err := tokens(q); err != nil {
			return err
		}
	}
	return nil
}

// tokens looks at each token of a query, up to the first that is none.
func tokens(query string) error {
	if len(query) <= shortRegexp && !strings.Contains(query, "{") {
		return nil
	}
	var item parser.Item
	lex := parser.Lex(query)
	for range maxTokens {
		lex.NextItem(&item)
		switch item.Typ {
		case parser.EOF, parser.ERROR:
			return nil
		case parser.STRING:
			// Any string may be a regular expression: label_replace has one among others.
			if s, err := strutil.Unquote(item.Val); err == nil {
				if err := regularExpression(s); err != nil {
					return err
				}
			}
		}
	}
	return fmt.Errorf("the query has more than %d tokens", maxTokens)
}

// Matchers refuses regular expressions that take too much memory to match. It is
// for matchers that do not come from text.
func Matchers(ms ...*labels.Matcher) error {
	for _, m := range ms {
		if m.Type != labels.MatchRegexp && m.Type != labels.MatchNotRegexp {
			continue
		}
		if err := regularExpression(m.Value); err != nil {
			return err
		}
	}
	return nil
}

func regularExpression(s string) error {
	if len(s) <= shortRegexp && !strings.Contains(s, "{") {
		return nil
	}
	re, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil // somebody else's to report
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil
	}
	// Package regexp may keep a thread for every instruction, and a thread has room for every group.
	if words := len(prog.Inst) * (prog.NumCap + 8); words > maxThreads {
		return fmt.Errorf("the regular expression %.40q… is too complex: use fewer groups, or (?:…)", s)
	}
	return nil
}

// Subqueries refuses expressions whose subqueries have too many steps. They are
// evaluated over span; a subquery that names no step has defaultStep.
func Subqueries(expr parser.Expr, span, defaultStep time.Duration) error {
	steps := 0.0
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		if sub, ok := node.(*parser.SubqueryExpr); ok {
			steps += subquerySteps(sub, path, span, defaultStep)
		}
		return nil
	})
	if steps > maxSteps {
		return fmt.Errorf("the subqueries of the query have %.0f steps, at most %d are allowed: make their steps longer", steps, maxSteps)
	}
	return nil
}

// subquerySteps counts the steps of a subquery. It is evaluated over the windows
// of all that it is in, one before the other.
func subquerySteps(sub *parser.SubqueryExpr, path []parser.Node, span, defaultStep time.Duration) float64 {
	window := span.Seconds() + sub.Range.Seconds()
	for _, outer := range path {
		if s, ok := outer.(*parser.SubqueryExpr); ok {
			window += s.Range.Seconds()
		}
	}
	step := sub.Step
	if step <= 0 {
		step = defaultStep
	}
	return 1 + window/step.Seconds()
}

// Format refuses expressions that would take long to format.
func Format(expr parser.Expr, query string) error {
	depth := 0
	parser.Inspect(expr, func(_ parser.Node, path []parser.Node) error {
		depth = max(depth, len(path))
		return nil
	})
	if float64(depth)*float64(depth)*float64(len(query)) > maxFormat {
		return errors.New("the query is nested too deep to be formatted")
	}
	return nil
}
