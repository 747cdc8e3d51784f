package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Question is a query that is asked again and again.
type Question struct {
	ID     string     // for programs
	Name   string     // for people
	Path   string     // on the server
	Params url.Values // of a GET
	Body   any        // of a POST, as JSON; nil means GET
}

// QueryReport is how a server answers a question.
type QueryReport struct {
	Name    string  `json:"name"`
	Results int     `json:"results"` // series, values or samples in the answer: equal answers have as many
	Bytes   int     `json:"bytes"`   // of the answer
	Latency Latency `json:"latency"`
	CPU     float64 `json:"server_cpu_ms,omitempty"` // for one answer
	Err     string  `json:"error,omitempty"`         // the server does not answer this
}

// QueryOptions say whom to ask and how often.
type QueryOptions struct {
	URL   string // of the server
	Times int    // 0 means 20
	PID   int    // of the server; 0 means not known
}

// Ask asks every question so many times, one at a time on one connection, after one that does not count. A
// question that the server refuses, or has no data for, has its error in the report; an error means that it could not be asked.
func Ask(ctx context.Context, o QueryOptions, qs []Question) ([]QueryReport, error) {
	if o.Times <= 0 {
		o.Times = 20
	}
	client := newClient(1)
	defer client.CloseIdleConnections()
	var reports []QueryReport
	for _, q := range qs {
		r, err := ask(ctx, client, o, q)
		if err != nil {
			return reports, fmt.Errorf("ask %s: %w", q.Name, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func ask(ctx context.Context, client *http.Client, o QueryOptions, q Question) (QueryReport, error) {
	r := QueryReport{Name: q.Name}
	body, status, err := q.ask(ctx, client, o.URL)
	if err != nil {
		return r, err
	}
	if status != http.StatusOK {
		r.Err = fmt.Sprintf("%d: %.200s", status, bytes.TrimSpace(body))
		return r, nil
	}
	r.Bytes = len(body)
	if r.Results, err = results(body); err != nil {
		return r, err
	}
	if r.Results == 0 {
		r.Err = "the answer is empty" // and to time it would tell nothing
		return r, nil
	}
	meter := Meter{PID: o.PID}
	if err := meter.Start(); err != nil {
		return r, err
	}
	took := make([]time.Duration, o.Times)
	for i := range took {
		begin := time.Now()
		_, status, err := q.ask(ctx, client, o.URL)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d, after it had answered before", status)
		}
		if err != nil {
			return r, err
		}
		took[i] = time.Since(begin)
	}
	cost, err := meter.Stop(int64(o.Times))
	if err != nil {
		return r, err
	}
	r.CPU = cost.CPU * 1000 / float64(o.Times)
	r.Latency = summarize(took)
	return r, nil
}

func (q Question) ask(ctx context.Context, client *http.Client, base string) (body []byte, status int, err error) {
	u, err := Endpoint(base, q.Path)
	if err != nil {
		return nil, 0, err
	}
	method, payload := http.MethodGet, []byte(nil)
	if q.Body != nil {
		method = http.MethodPost
		if payload, err = json.Marshal(q.Body); err != nil {
			return nil, 0, err
		}
	} else {
		u += "?" + q.Params.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(payload))
	if err != nil {
		return nil, 0, err
	}
	if q.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// results counts what is in an answer of the Prometheus API or of POST /query.
func results(body []byte) (int, error) {
	var a struct {
		Data  json.RawMessage `json:"data"`
		Count int             `json:"count"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return 0, fmt.Errorf("the answer is no JSON: %w", err)
	}
	var list []json.RawMessage
	if len(a.Data) == 0 {
		return a.Count, nil
	}
	if json.Unmarshal(a.Data, &list) == nil {
		return len(list), nil
	}
	var d struct {
		Result []json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(a.Data, &d); err != nil {
		return 0, fmt.Errorf("the answer's data has no result: %w", err)
	}
	return len(d.Result), nil
}

// Scalar asks an instant query at a time in milliseconds whose answer is one number; no answer is 0.
func Scalar(ctx context.Context, base, promql string, at int64) (float64, error) {
	client := newClient(1)
	defer client.CloseIdleConnections()
	q := Question{Path: "/api/v1/query", Params: instant(promql, at)}
	body, status, err := q.ask(ctx, client, base)
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", promql, err)
	}
	var a struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("query %s: %d: %.200s", promql, status, body)
	}
	if len(a.Data.Result) == 0 {
		return 0, nil
	}
	text, _ := a.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", promql, err)
	}
	return v, nil
}

func instant(promql string, at int64) url.Values {
	return url.Values{"query": {promql}, "time": {seconds(at)}, "nocache": {"1"}}
}

func ranged(promql string, from, to int64, step time.Duration) url.Values {
	return url.Values{"query": {promql}, "start": {seconds(from)}, "end": {seconds(to)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}, "nocache": {"1"}}
}

func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }
