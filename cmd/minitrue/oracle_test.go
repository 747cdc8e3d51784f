package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	remotewrite "github.com/minitrue/minitrue/cmd/internal/send"
	"github.com/minitrue/minitrue/promql/quiz"
)

// poser makes up data, and requests about it whose answers depend on nothing else.
type poser struct{ quiz.Quiz }

func newPoser(seed uint64, start time.Time, span time.Duration) poser {
	return poser{quiz.Quiz{Rand: rand.New(rand.NewPCG(seed, 11)), Start: start.UnixMilli(), Span: span.Milliseconds(), Devices: 80, Orderless: true}}
}

// fill writes the same samples to several nodes, some of them late, and now and then makes blocks of them. It returns how many series and
// samples there are.
func (p poser) fill(t *testing.T, flush, to []*node) (sensors, samples int) {
	t.Helper()
	var senders []*remotewrite.Sender
	for _, n := range to {
		s, err := remotewrite.New(t.Context(), remotewrite.Options{URL: n.url + "/api/v1/write", Protocol: "1.0"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		senders = append(senders, s)
	}
	all := p.Sensors()
	parts := make([][][]series.Sample, quiz.Parts) // by sensor
	for i := range parts {
		parts[i] = make([][]series.Sample, len(all))
	}
	for i := range all {
		p.Samples(&all[i], func(part int, at int64, v float64) {
			parts[part][i] = append(parts[part][i], series.Sample{T: at, V: v})
			samples++
		})
	}
	for part, bySensor := range parts {
		for _, s := range senders {
			for i, floats := range bySensor {
				if err := s.Send(&flow.Run{Labels: all[i].Labels, Floats: floats}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if n := flush[part%len(flush)]; part < quiz.Parts-1 {
			if resp, err := http.Post(n.url+"/api/v1/admin/tsdb/flush", "", nil); err != nil || resp.StatusCode >= 300 {
				t.Fatalf("flush: %v %v", resp, err)
			}
		}
	}
	return len(all), samples
}

// request is one that every node is to answer alike.
type request struct{ path, body string }

func (r request) String() string { return r.path + " " + r.body }

func (p poser) request() request {
	switch p.IntN(8) {
	case 0:
		return p.aggregate()
	case 1:
		q := url.Values{"match[]": {p.Selector()}} // at all times: a range chooses among memtables and blocks, which are the node's own
		return request{path: []string{"/api/v1/series", "/api/v1/labels", "/api/v1/label/device_id/values", "/api/v1/label/__name__/values"}[p.IntN(4)] + "?" + q.Encode()}
	}
	q := p.Question()
	form := url.Values{"query": {q.Text}}
	if q.Lookback > 0 {
		form.Set("lookback_delta", q.Lookback.String())
	}
	if q.Step == 0 {
		form.Set("time", seconds(q.Start))
		return request{path: "/api/v1/query?" + form.Encode()}
	}
	form.Set("start", seconds(q.Start))
	form.Set("end", seconds(q.End))
	form.Set("step", q.Step.String())
	return request{path: "/api/v1/query_range?" + form.Encode()}
}

// aggregate is a POST /query: about one device, or about several what does not depend on their order.
func (p poser) aggregate() request {
	q := map[string]any{"metric_name": quiz.Names[p.IntN(3)], "operation": []string{"avg", "sum", "min", "max", "count"}}
	if p.IntN(3) > 0 {
		q["device_id"], q["operation"] = fmt.Sprint("d", p.IntN(p.Devices+3)), []string{"avg", "sum", "min", "max", "count", "first", "last", "range", "increase"}
	}
	from := p.Time()
	q["start_time"], q["end_time"] = from, from+p.Int64N(p.Span)
	b, _ := json.Marshal(q)
	return request{"/query", string(b)}
}

// Why there is no answer: nobody is there, or who is there says that it cannot answer now.
var errGone, errUnavailable = errors.New("gone"), errors.New("503")

// response is an answer in a form that can be compared: what must be the same, and numbers that may differ in how they were rounded.
type response struct {
	code    int
	same    []string
	numbers []float64
}

// pose asks a node.
func (n *node) pose(r request) (*response, error) {
	var resp *http.Response
	var err error
	if r.body != "" {
		resp, err = http.Post(n.url+r.path, "application/json", strings.NewReader(r.body))
	} else {
		resp, err = http.Get(n.url + r.path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%w: %s", errUnavailable, body)
	}
	out := &response{code: resp.StatusCode}
	if resp.StatusCode != http.StatusOK {
		return out, nil // which of several things is wrong depends on the order of series
	}
	if r.path == "/query" {
		return out, out.readAggregate(body)
	}
	return out, out.readProm(body)
}

func (r *response) readAggregate(body []byte) error {
	var a struct {
		Result map[string]any
		Count  int64
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	r.same = append(r.same, fmt.Sprint(a.Count))
	for _, op := range []string{"avg", "sum", "min", "max", "count", "first", "last", "range", "increase"} {
		switch v := a.Result[op].(type) {
		case float64:
			r.numbers = append(r.numbers, v)
		default:
			r.same = append(r.same, fmt.Sprint(op, v))
		}
	}
	return nil
}

func (r *response) readProm(body []byte) error {
	var a struct {
		Data            json.RawMessage
		Warnings, Infos []string
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return err
	}
	notes := append(a.Warnings, a.Infos...)
	slices.Sort(notes)
	r.same = append(r.same, notes...)
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if !bytes.HasPrefix(a.Data, []byte("{")) { // labels or series, sorted by nodes or not
		var list []any
		if err := json.Unmarshal(a.Data, &list); err != nil {
			return err
		}
		for _, x := range list {
			r.same = append(r.same, fmt.Sprint(x))
		}
		slices.Sort(r.same[len(notes):])
		return nil
	}
	if err := json.Unmarshal(a.Data, &data); err != nil {
		return err
	}
	r.same = append(r.same, data.ResultType)
	if data.ResultType == "scalar" {
		var point []any
		if err := json.Unmarshal(data.Result, &point); err != nil {
			return err
		}
		return r.point(point)
	}
	var results []result
	if err := json.Unmarshal(data.Result, &results); err != nil {
		return err
	}
	slices.SortFunc(results, func(a, b result) int { return strings.Compare(fmt.Sprint(a.Metric), fmt.Sprint(b.Metric)) })
	for _, s := range results {
		r.same = append(r.same, fmt.Sprint(s.Metric, len(s.Values)))
		points := s.Values
		if s.Value != nil {
			points = append(points, s.Value)
		}
		for _, p := range points {
			if err := r.point(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// point notes a time and a value.
func (r *response) point(p []any) error {
	if len(p) != 2 {
		return fmt.Errorf("%v is no point", p)
	}
	v, err := strconv.ParseFloat(fmt.Sprint(p[1]), 64)
	at, ok := p[0].(float64)
	if err != nil || !ok {
		return fmt.Errorf("%v is no point", p)
	}
	r.numbers = append(r.numbers, at, v)
	return nil
}

// differs tells in what an answer differs from what it should be.
func (r *response) differs(want *response) error {
	if r.code != want.code {
		return fmt.Errorf("code %d, want %d", r.code, want.code)
	}
	if !slices.Equal(r.same, want.same) {
		return fmt.Errorf("%.1500v, want %.1500v", r.same, want.same)
	}
	if len(r.numbers) != len(want.numbers) {
		return fmt.Errorf("%d numbers, want %d", len(r.numbers), len(want.numbers))
	}
	for i, w := range want.numbers {
		v := r.numbers[i]
		if v == w || math.IsNaN(v) && math.IsNaN(w) {
			continue
		}
		// What differences and quotients of sums have lost of their first digits: 1e-9 is 1e-12 of the values of the data.
		if !(math.Abs(v-w) <= max(1e-12*math.Abs(w), 1e-9)) {
			return fmt.Errorf("number %d of %d is %v, want %v, in %.600v", i, len(want.numbers), v, w, want.same)
		}
	}
	return nil
}
