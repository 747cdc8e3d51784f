package aggregate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/promql/cost"
)

// query is a request, understood.
type query struct {
	device, metric, selector string // as they were given

	operations []string
	several    bool // operations were given as a list, and are answered as one

	mint, maxt int64 // ms, inclusive
	matchers   []*labels.Matcher
}

// minTime is the beginning: far before all samples, and far enough from the
// least number that nobody overflows by subtracting from it. In milliseconds.
const minTime = math.MinInt64 / 2

// parse understands a body. Relative times are relative to now.
func (h *Handler) parse(body []byte, now time.Time) (*query, *httpError) {
	q := &query{mint: minTime, maxt: now.UnixMilli()}
	if e := q.decode(body, now); e != nil {
		return nil, e
	}
	unknown := slices.IndexFunc(q.operations, func(o string) bool { return !slices.Contains(operations, o) })
	switch {
	case len(q.operations) == 0 || q.operations[0] == "":
		return nil, errorf(http.StatusBadRequest, "operation", "operation is missing, use one of %s", strings.Join(operations, ", "))
	case unknown >= 0:
		return nil, errorf(http.StatusBadRequest, "operation", "the operation %.64q is unknown, use one of %s", q.operations[unknown], strings.Join(operations, ", "))
	case len(slices.Compact(slices.Sorted(slices.Values(q.operations)))) != len(q.operations):
		return nil, errorf(http.StatusBadRequest, "operation", "operation names one twice")
	case q.metric == "" && q.selector == "":
		return nil, errorf(http.StatusBadRequest, "metric_name", "metric_name is missing: name a metric, or give matchers")
	case q.mint > q.maxt:
		return nil, errorf(http.StatusBadRequest, "start_time", "start_time %s is after end_time %s", stamp(q.mint), stamp(q.maxt))
	}
	return q, h.match(q)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

// match makes the matchers of a query.
func (h *Handler) match(q *query) *httpError {
	if q.selector != "" {
		if err := cost.Text(q.selector); err != nil {
			return &httpError{http.StatusBadRequest, "matchers", err}
		}
		ms, err := h.parser.ParseMetricSelector(q.selector)
		if err != nil {
			return errorf(http.StatusBadRequest, "matchers", "matchers is not a PromQL selector: %w", err)
		}
		q.matchers = ms
	}
	if q.metric != "" {
		q.matchers = append(q.matchers, &labels.Matcher{Type: labels.MatchEqual, Name: model.MetricNameLabel, Value: q.metric})
	}
	if q.device != "" {
		q.matchers = append(q.matchers, &labels.Matcher{Type: labels.MatchEqual, Name: h.o.DeviceLabel, Value: q.device})
	}
	if !slices.ContainsFunc(q.matchers, func(m *labels.Matcher) bool { return !m.Matches("") }) {
		return errorf(http.StatusBadRequest, "matchers", "matchers match everything: name a metric or a label value")
	}
	return nil
}

var fields = []string{"device_id", "metric_name", "operation", "start_time", "end_time", "matchers"}

// decode reads the one JSON object that a body must be. Field by field, so
// that an error can name the field; every field at most once, and no other.
func (q *query) decode(body []byte, now time.Time) *httpError {
	if !utf8.Valid(body) {
		return errorf(http.StatusBadRequest, "", "the body is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil {
		return malformed(dec, err)
	} else if t != json.Delim('{') {
		return errorf(http.StatusBadRequest, "", "the body is not a JSON object")
	}
	seen := make([]string, 0, len(fields))
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return malformed(dec, err)
		}
		name, ok := t.(string)
		if !ok {
			return errorf(http.StatusBadRequest, "", "malformed JSON at byte %d", dec.InputOffset())
		}
		var value any
		switch {
		case !slices.Contains(fields, name):
			return errorf(http.StatusBadRequest, cut(name), "the field %.64q is unknown, use %s", name, strings.Join(fields, ", "))
		case slices.Contains(seen, name):
			return errorf(http.StatusBadRequest, name, "the field %s is there twice", name)
		}
		seen = append(seen, name)
		if err := dec.Decode(&value); err != nil {
			return malformed(dec, err)
		}
		if e := q.set(name, value, now); e != nil {
			return e
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return malformed(dec, err)
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); err != io.EOF {
		return errorf(http.StatusBadRequest, "", "there is something after the JSON object, at byte %d", end)
	}
	return nil
}

// cut shortens a name that a client made up.
func cut(name string) string {
	if len(name) > 64 {
		return strings.ToValidUTF8(name[:64], "")
	}
	return name
}

func malformed(dec *json.Decoder, err error) *httpError {
	at := dec.InputOffset()
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too early")
	}
	return errorf(http.StatusBadRequest, "", "malformed JSON at byte %d: %w", at, err)
}

// set takes the value of a field; null is as if it were not there.
func (q *query) set(name string, value any, now time.Time) *httpError {
	if value == nil {
		return nil
	}
	var into *string
	switch name {
	case "device_id":
		into = &q.device
	case "metric_name":
		into = &q.metric
	case "operation":
		return q.setOperations(value)
	case "matchers":
		into = &q.selector
	case "start_time":
		return setTime(&q.mint, name, value, now)
	default:
		return setTime(&q.maxt, name, value, now)
	}
	s, ok := value.(string)
	if !ok {
		return errorf(http.StatusBadRequest, name, "%s must be a string", name)
	}
	*into = s
	return nil
}

// setOperations takes one operation, or a list of them.
func (q *query) setOperations(value any) *httpError {
	list, several := value.([]any)
	if !several {
		list = []any{value}
	}
	q.several = several
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			return errorf(http.StatusBadRequest, "operation", "operation must be a string, or a list of strings")
		}
		q.operations = append(q.operations, s)
	}
	return nil
}

// setTime sets a time in milliseconds; zero seconds leave it as it is.
func setTime(ms *int64, name string, value any, now time.Time) *httpError {
	var err error
	switch v := value.(type) {
	case json.Number:
		var s float64
		if s, err = v.Float64(); err == nil && math.Abs(s) > maxSeconds {
			err = errors.New("out of range, the unit is seconds")
		}
		if err == nil && s != 0 {
			*ms = int64(math.Round(s * 1000))
		}
	case string:
		*ms, err = parseTime(v, now)
	default:
		err = errors.New("neither number nor string")
	}
	if err != nil {
		return errorf(http.StatusBadRequest, name, `%s must be Unix seconds, RFC 3339 or relative to now as in "now-1h": %w`, name, err)
	}
	return nil
}

const maxSeconds = 1e12 // either way from 1970: milliseconds and microseconds by mistake are refused

// parseTime reads RFC 3339 or a time relative to now, as milliseconds.
func parseTime(s string, now time.Time) (int64, error) {
	rest, relative := strings.CutPrefix(s, "now")
	if !relative {
		t, err := time.Parse(time.RFC3339Nano, s)
		return t.UnixMilli(), err
	}
	if rest == "" {
		return now.UnixMilli(), nil
	}
	d, err := model.ParseDuration(rest[1:])
	switch {
	case err != nil:
		return 0, err
	case rest[0] == '-':
		return now.UnixMilli() - time.Duration(d).Milliseconds(), nil
	case rest[0] == '+':
		return now.UnixMilli() + time.Duration(d).Milliseconds(), nil
	}
	return 0, errors.New("neither + nor - after now")
}
