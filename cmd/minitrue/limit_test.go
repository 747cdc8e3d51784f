package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/proc"
	sender "github.com/minitrue/minitrue/cmd/internal/send"
)

// A node that has as many series as it may takes more of these, refuses new ones at every door, and says which and why.
func TestMaxSeries(t *testing.T) {
	n := startNode(t, "--max-series=2")
	c := sensor(t, n.mqtt, "gateway")
	base := time.Now().UnixMilli()
	for i := range 2 {
		for device := range 4 {
			if err := send(c, fmt.Sprintf("iot/sensors/temperature/s%d", device), fmt.Sprintf(`{"value":20,"timestamp":%d}`, base-int64(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := sender.New(t.Context(), sender.Options{URL: n.url + "/api/v1/write"})
	if err != nil {
		t.Fatal(err)
	}
	for device := range 4 {
		ls := labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprint("s", device))
		if err := s.Send(&flow.Run{Labels: ls, Floats: []series.Sample{{T: base - 1000, V: 20}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	const reason = `{__name__="temperature", device_id="s3"} is new, and the node has 2 active series, as many as it may: see --max-series`
	if r := s.Report(); r.Samples != 2 || r.Refused != 2 || !strings.Contains(strings.Join(r.Reasons, "\n"), strings.ReplaceAll(reason, "s3", "s2")) {
		t.Errorf("remote_write: %+v", r)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	proc.Until(t, "three samples of each of the first two", func() error {
		for device := range 4 {
			want := int64(0)
			if device < 2 {
				want = 3
			}
			if a, err := ask(n.url, fmt.Sprint("s", device), "temperature", "count"); err != nil || a.Count != want {
				return fmt.Errorf("s%d: %d samples, %w; want %d", device, a.Count, err, want)
			}
		}
		return nil
	})
	text, err := fetch(n.url + "/api/v1/ingest/rejected")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) || !strings.Contains(string(text), `"max_series"`) || !strings.Contains(string(text), strings.ReplaceAll(reason, `"`, `\"`)) {
		t.Errorf("rejected: %s", text)
	}
	text, err = fetch(n.url + "/metrics")
	if err = errors.Join(err, found(string(text), `minitrue_ingest_rejected_total{door="mqtt",reason="max_series"} 4`)); err != nil {
		t.Error(err)
	}
}

func found(text, want string) error {
	if strings.Contains(text, want) {
		return nil
	}
	var near []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "reject") {
			near = append(near, line)
		}
	}
	return fmt.Errorf("no %s in %s", want, strings.Join(near, ""))
}
