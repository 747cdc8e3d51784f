package aggregate

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/minitrue/minitrue/chunk"
)

var operations = []string{"avg", "sum", "min", "max", "count", "first", "last", "range", "increase"}

// result is what an operation makes of statistics that count something.
func result(operation string, s *chunk.Stats) float64 {
	switch operation {
	case "avg":
		return s.Total() / float64(s.Count())
	case "sum":
		return s.Total()
	case "min":
		return s.Min
	case "max":
		return s.Max
	case "count":
		return float64(s.Count())
	case "first":
		return s.First
	case "last":
		return s.Last
	case "range":
		return s.Max - s.Min
	case "increase":
		return s.Increase
	}
	panic("unknown operation " + operation) // parse lets none through
}

func (q *query) appendAnswer(b []byte, s *chunk.Stats, took time.Duration) []byte {
	b = appendText(append(b, `{"device_id":`...), q.device)
	b = appendText(append(b, `,"metric_name":`...), q.metric)
	if q.selector != "" {
		b = appendText(append(b, `,"matchers":`...), q.selector)
	}
	b = append(b, `,"operation":`...)
	if !q.several {
		b = appendText(b, q.operations[0])
		b = appendResult(append(b, `,"result":`...), q.operations[0], s)
	} else {
		b = q.appendSeveral(b, s)
	}
	b = strconv.AppendUint(append(b, `,"count":`...), s.Count(), 10)
	b = strconv.AppendInt(append(b, `,"duration_ns":`...), took.Nanoseconds(), 10)
	return append(b, "}\n"...)
}

// appendSeveral appends a list of operations, and an object of their results.
func (q *query) appendSeveral(b []byte, s *chunk.Stats) []byte {
	for i, o := range q.operations {
		b = appendText(append(b, "[,"[min(i, 1)]), o)
	}
	b = append(b, `],"result":`...)
	for i, o := range q.operations {
		b = appendText(append(b, "{,"[min(i, 1)]), o)
		b = appendResult(append(b, ':'), o, s)
	}
	return append(b, '}')
}

func appendResult(b []byte, operation string, s *chunk.Stats) []byte {
	if s.Count() == 0 {
		return append(b, "null"...)
	}
	return appendNumber(b, result(operation, s))
}

// appendNumber appends the shortest number that reads back as the same bits, or
// a string for what is no JSON number.
func appendNumber(b []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"+Inf"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Inf"`...)
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// appendText appends a string that came out of a JSON decoder, or an error.
func appendText(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // a string is always marshalled
	}
	return append(b, q...)
}

func appendError(b []byte, e *httpError) []byte {
	b = appendText(append(b, `{"error":`...), e.Error())
	if e.field != "" {
		b = appendText(append(b, `,"field":`...), e.field)
	}
	return append(b, "}\n"...)
}
