package vector

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/appender"
)

// A label that no series can have selects nothing, whatever stands for subtrees that are evaluated already.
func TestNoTextNamesAnAnswer(t *testing.T) {
	s := storeOf(t, false, map[string][]float64{"m": {1, 2, 3}})
	below := newProm(1000)
	for _, text := range []string{`sum(m) + on() {"\xff"="0"}`, `sum(m) or {"\xff"="0"}`, `count({"\xff"="0"}) or -sum(m)`} {
		q := question{text: text, start: time.UnixMilli(dataStart + 30_000), end: time.UnixMilli(dataStart + 30_000)}
		if err := differ(q, q.ask(t, New(below, s, Options{}), s), q.ask(t, below, s)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A matcher means the same to another node: JSON has no place for bytes that are not UTF-8, which PromQL's strings may have.
func TestMatchersTravelAsTheyAre(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	app := appender.New(s).Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "m", "site", "\ufffd"), dataStart+3*3600_000, 1); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`sum(m{site="\xff"})`, `sum(m{site!="\xff"})`, `sum(m{site="\ufffd"})`} {
		p := hourOf(t, text)
		if !p.sendable() {
			continue
		}
		want, err := New(newProm(1000), scanner{s}, Options{}).direct(t.Context(), p, &budget{max: 1000})
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewAnswerer(scanner{s}, AnswererOptions{}).Evaluate(t.Context(), requestOf(t, p))
		if err != nil {
			t.Fatal(err)
		}
		share, _, err := p.decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(share.(*sum).labels); got != len(want.matrix) {
			t.Errorf("%s: another node finds %d groups, this one %d", text, got, len(want.matrix))
		}
	}
}
