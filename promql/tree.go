package promql

import (
	"fmt"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// object is a node of the tree that parse_query answers.
type object = map[string]any

// tree turns an expression into the objects that Prometheus's user interface reads.
func tree(node parser.Expr) any {
	switch n := node.(type) {
	case nil:
		return nil
	case *parser.AggregateExpr:
		return object{
			"type": "aggregation", "op": n.Op.String(), "expr": tree(n.Expr), "param": tree(n.Param),
			"grouping": list(n.Grouping), "without": n.Without,
		}
	case *parser.BinaryExpr:
		return object{
			"type": "binaryExpr", "op": n.Op.String(), "lhs": tree(n.LHS), "rhs": tree(n.RHS),
			"matching": matchingTree(n.VectorMatching), "bool": n.ReturnBool,
		}
	case *parser.Call:
		args := make([]any, len(n.Args))
		for i, arg := range n.Args {
			args[i] = tree(arg)
		}
		return object{
			"type": "call", "args": args,
			"func": object{"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType},
		}
	case *parser.MatrixSelector:
		o := selectorTree("matrixSelector", n.VectorSelector.(*parser.VectorSelector))
		o["range"] = n.Range.Milliseconds()
		o["rangeExpr"] = durationTree(n.RangeExpr)
		return o
	case *parser.VectorSelector:
		return selectorTree("vectorSelector", n)
	case *parser.SubqueryExpr:
		return object{
			"type": "subquery", "expr": tree(n.Expr),
			"range": n.Range.Milliseconds(), "rangeExpr": durationTree(n.RangeExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": durationTree(n.OriginalOffsetExpr),
			"step": n.Step.Milliseconds(), "stepExpr": durationTree(n.StepExpr),
			"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		}
	case *parser.DurationExpr:
		return durationTree(n)
	case *parser.NumberLiteral:
		return object{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64)}
	case *parser.StringLiteral:
		return object{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return object{"type": "parenExpr", "expr": tree(n.Expr)}
	case *parser.UnaryExpr:
		return object{"type": "unaryExpr", "op": n.Op.String(), "expr": tree(n.Expr)}
	}
	return object{"type": fmt.Sprintf("%T", node)} // of a parser newer than this
}

func selectorTree(typ string, n *parser.VectorSelector) object {
	return object{
		"type": typ, "name": n.Name, "matchers": matcherTrees(n.LabelMatchers),
		"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": durationTree(n.OriginalOffsetExpr),
		"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		"anchored": n.Anchored, "smoothed": n.Smoothed,
	}
}

func matchingTree(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return object{
		"card": m.Card.String(), "labels": list(m.MatchingLabels), "on": m.On, "include": list(m.Include),
		"fillValues": object{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

func matcherTrees(ms []*labels.Matcher) []object {
	out := make([]object, len(ms))
	for i, m := range ms {
		out[i] = object{"name": m.Name, "value": m.Value, "type": m.Type.String()}
	}
	return out
}

// durationTree is tree for durations, where a number has a unit. Optional ones are typed
// nil pointers in interfaces, hence the checks.
func durationTree(node parser.Expr) any {
	switch n := node.(type) {
	case *parser.DurationExpr:
		if n == nil {
			return nil
		}
		return object{
			"type": "durationExpr", "op": n.Op.String(), "wrapped": n.Wrapped,
			"lhs": durationTree(n.LHS), "rhs": durationTree(n.RHS),
		}
	case *parser.NumberLiteral:
		if n == nil {
			return nil
		}
		return object{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64), "duration": n.Duration}
	}
	return tree(node)
}

func startOrEnd(t parser.ItemType) any {
	if t == 0 {
		return nil
	}
	return t.String()
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
