package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

var demoMetrics = []string{"temperature", "humidity", "pressure"}

// A demo node answers about three devices as soon as their first readings are in, and
// the lines that it prints can be pasted.
func TestDemo(t *testing.T) {
	t.Parallel()
	n := startNode(t, "--demo")
	for _, metric := range demoMetrics {
		untilScalar(t, n.url, "count("+metric+")", func(v float64) bool { return v == 3 })
		for i := range 3 {
			device := fmt.Sprintf("device-%d", i+1)
			a, err := ask(n.url, device, metric, "avg")
			if err != nil || a.Count < 1 || a.Result == nil {
				t.Errorf("POST /query about the %s of %s: %+v, %v", metric, device, a, err)
			}
		}
	}
	untilScalar(t, n.url, `min(count_over_time(temperature[1h]))`, func(v float64) bool { return v >= 2 })
	t.Run("lines to paste", func(t *testing.T) { paste(t, n) })
	t.Run("ws", func(t *testing.T) { stream(t, n) })
	if code := n.Stop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// paste runs the three lines as a shell would.
func paste(t *testing.T, n *node) {
	lines := examples(n.Output())
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		program, _, _ := strings.Cut(line, " ")
		if _, ok := proc.Lookup(t, program); !ok {
			t.Logf("%s is not installed: left out %s", program, line)
			continue
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput()
		if err != nil {
			t.Errorf("%s\n%v, it prints %s", line, err, out)
			continue
		}
		switch {
		case strings.Contains(line, "/api/v1/query"):
			if strings.Count(string(out), `"device_id":"device-`) != 3 {
				t.Errorf("%s\nprints %s", line, out)
			}
		case program == "curl":
			var a aggregated
			if err := json.Unmarshal(out, &a); err != nil || a.Count < 1 || a.Result == nil {
				t.Errorf("%s\n%v, it prints %s", line, err, out)
			}
		default:
			a, err := ask(n.url, "mine", "temperature", "last")
			if err != nil || a.Count != 1 || a.Result == nil || *a.Result != 21.5 {
				t.Errorf("after %s\nthe answer is %+v, %v", line, a, err)
			}
		}
	}
}

// stream reads what is accepted as it comes.
func stream(t *testing.T, n *node) {
	selector := url.Values{"selector": {`pressure{device_id="device-2"}`}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(n.url, "http")+"/ws?"+selector.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	for last := int64(0); last == 0; {
		_, text, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Metric    string            `json:"metric_name"`
			Device    string            `json:"device_id"`
			Labels    map[string]string `json:"labels"`
			Timestamp int64             `json:"timestamp"`
			Value     *float64          `json:"value"`
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		age := time.Since(time.UnixMilli(s.Timestamp))
		if s.Metric != "pressure" || s.Device != "device-2" || len(s.Labels) != 2 || s.Value == nil || age < 0 || age > time.Hour {
			t.Fatalf("it sends %s", text)
		}
		last = s.Timestamp
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if _, err := fetch(n.url + "/ws?selector=%7B"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a bad selector: %v", err)
	}
}
