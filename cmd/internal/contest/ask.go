package contest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

// inquiry is a question that is asked again and again, each time about another range.
type inquiry struct {
	figure Figure
	unlike string // how MetricsQL is known to answer it otherwise
	at     func(n int) bench.Question
	check  func(n int, body []byte) error // the answer against what was written; nil means that it is compared between servers
}

const (
	compared    = 3    // askings whose answers are compared
	fewestTimes = 5    // however long they take
	manyTimes   = 20   // unless they take several times as long as is patience
	mostTimes   = 1000 // however fast they are
)

// ask compares a few answers and then times as many askings as patience allows. No two are about the same range.
func (b *bout) ask(ctx context.Context, q inquiry) error {
	client := bench.NewClient(b.url)
	defer client.Close()
	for n := range compared {
		body, _, err := client.Ask(ctx, q.at(n))
		if err != nil {
			return err
		}
		if err := b.hear(q, n, body); err != nil {
			return fmt.Errorf("%s: %w", q.figure.Name, err)
		}
	}
	meter := bench.Meter{PID: b.program.pid()}
	if err := meter.Start(); err != nil {
		return err
	}
	var took []time.Duration
	for began := time.Now(); !enough(len(took), time.Since(began), b.o.Sizes.Patience); {
		_, t, err := client.Ask(ctx, q.at(compared+len(took)))
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	cost, err := meter.Stop(int64(len(took)))
	if err != nil {
		return err
	}
	if err := b.profileQuestion(ctx, client, q); err != nil {
		return err
	}
	latency := bench.Summarize(took)
	b.raw(q.figure.ID, map[string]any{"times": len(took), "latency": latency, "server_cpu_ms": cost.CPU * 1000 / float64(len(took)), "rss_bytes": cost.RSS})
	b.record(q.figure, latency.Median)
	b.report.tail(q.figure.ID, b.rival.Name, latency.P99)
	b.logf("%s: median %.2f ms, p99 %.2f ms of %d", q.figure.Name, latency.Median, latency.P99, len(took))
	return nil
}

// enough says whether so many askings in so long a time will do.
func enough(times int, took, patience time.Duration) bool {
	switch {
	case times < fewestTimes:
		return false
	case times < manyTimes:
		return took > 4*patience
	}
	return times >= mostTimes || took > patience
}

// hear checks an answer, or keeps it to be compared.
func (b *bout) hear(q inquiry, n int, body []byte) error {
	if q.check != nil {
		if err := q.check(n, body); err != nil {
			b.report.disagree("%s, %s: %s: %v", b.load.name, q.figure.Name, b.rival.Title, err)
		}
		return nil
	}
	a, err := parseAnswer(body)
	if err != nil {
		return err
	}
	if len(a) == 0 {
		return fmt.Errorf("the answer is empty")
	}
	b.answers.add(b.rival.Name, q.figure.Name, n, q.unlike, a)
	return nil
}

// checkQuery holds an answer of POST /query against what was written.
func checkQuery(body []byte, want float64, count int) error {
	var a struct {
		Result *float64
		Count  int
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return fmt.Errorf("the answer is no JSON: %w", err)
	}
	switch {
	case a.Result == nil:
		return fmt.Errorf("the answer is null, want %v", want)
	case a.Count != count:
		return fmt.Errorf("the answer is of %d samples, %d were written", a.Count, count)
	case relative(*a.Result, want) > tolerance:
		return fmt.Errorf("the answer is %v, what was written gives %v", *a.Result, want)
	}
	return nil
}
