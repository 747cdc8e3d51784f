package ingest

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
)

// startTap serves a tap until the test ends.
func startTap(t *testing.T, o TapOptions) (tap *Tap, address string, stop func()) {
	t.Helper()
	tap = NewTap(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = tap.Run(ctx); close(ended) }()
	srv := httptest.NewServer(tap)
	stop = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the tap does not end")
		}
	}
	t.Cleanup(func() { stop(); srv.Close() })
	return tap, srv.URL, stop
}

func listen(t *testing.T, tap *Tap, address, query string) *websocket.Conn {
	t.Helper()
	before := len(tap.current())
	c, _, err := websocket.Dial(context.Background(), address+"/ws?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	poll(t, func() bool { return len(tap.current()) > before })
	return c
}

func hear(t *testing.T, c *websocket.Conn) (m map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return m
}

func TestTapStreams(t *testing.T) {
	tap, address, _ := startTap(t, TapOptions{})
	p := NewPipeline(appendFunc(accept), Options{Now: now, Tap: tap})
	all := listen(t, tap, address, "")
	some := listen(t, tap, address, url.Values{"match[]": {`{device_id=~"d[23]"}`, `other`}}.Encode())
	two := listen(t, tap, address, url.Values{"selector": {`temp{device_id="d2",site=""}`}}.Encode())

	var b series.Batch
	for i, v := range []float64{21.5, math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(value.StaleNaN)} {
		add(&b, key("__name__", "temp", "device_id", "d"+string(rune('1'+i))), clock+int64(i))
		b.Samples[i].V = v
	}
	add(&b, key("__name__", "odd", "ü\"", "\n<"), clock)
	add(&b, key("__name__", "bad"), clock)
	b.Reject(6, "x", context.Canceled)
	add(&b, key("__name__", "late"), -1)
	if err := p.Append(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	clear(b.Series[0].Key) // it is the caller's again

	msg := func(device string, off float64, v any) map[string]any {
		return map[string]any{"metric_name": "temp", "device_id": device, "timestamp": float64(clock) + off, "value": v,
			"labels": map[string]any{"__name__": "temp", "device_id": device}}
	}
	stale := msg("d5", 4, "NaN")
	stale["stale"] = true
	odd := map[string]any{"metric_name": "odd", "timestamp": float64(clock), "value": float64(clock), "labels": map[string]any{"__name__": "odd", "ü\"": "\n<"}}
	want := []map[string]any{msg("d1", 0, 21.5), msg("d2", 1, "NaN"), msg("d3", 2, "+Inf"), msg("d4", 3, "-Inf"), stale, odd}
	for _, r := range []struct {
		c    *websocket.Conn
		want []map[string]any
	}{{all, want}, {some, want[1:3]}, {two, want[1:2]}} {
		for _, w := range r.want {
			if got := hear(t, r.c); !reflect.DeepEqual(got, w) {
				t.Errorf("got  %v\nwant %v", got, w)
			}
		}
	}
}

// A slow reader loses samples and is told how many; writes never wait for it.
func TestTapDropsForSlowReaders(t *testing.T) {
	tap, address, _ := startTap(t, TapOptions{Queue: 4})
	c := listen(t, tap, address, "")
	var b series.Batch
	add(&b, key("__name__", "m", "pad", strings.Repeat("x", 5000)), make([]int64, 20_000)...)
	tap.offer(&b)
	got, lost := 0, 0.0
	for float64(got)+lost < 20_000 {
		m := hear(t, c)
		if n, ok := m["dropped"]; ok {
			lost += n.(float64)
			continue
		}
		got++
	}
	if lost == 0 || testutil.ToFloat64(tap.dropped) != lost {
		t.Errorf("%v lost, %v counted", lost, testutil.ToFloat64(tap.dropped))
	}
}

func TestTapRefuses(t *testing.T) {
	tap, address, stop := startTap(t, TapOptions{MaxReaders: 1})
	get := func(query string) int {
		t.Helper()
		res, err := http.Get(address + "/ws?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for _, bad := range []string{`{`, `{a=~"` + strings.Repeat("(a|b)?", 20_000) + `"}`} {
		if code := get(url.Values{"match[]": {bad}}.Encode()); code != 400 {
			t.Errorf("a bad selector: %d", code)
		}
	}
	if code := get(""); code != 426 {
		t.Errorf("no upgrade: %d", code)
	}
	c := listen(t, tap, address, "")
	if code := get(""); code != 503 {
		t.Errorf("too many readers: %d", code)
	}
	req, _ := http.NewRequest("GET", address, nil)
	req.Header.Set("Origin", "http://elsewhere.example")
	_ = c.CloseNow()
	poll(t, func() bool { return len(tap.current()) == 0 })
	_, res, err := websocket.Dial(context.Background(), address, &websocket.DialOptions{HTTPHeader: req.Header})
	if err == nil || res.StatusCode != 403 {
		t.Errorf("another origin: %v", err)
	}
	c = listen(t, tap, address, "")
	go stop()
	if _, _, err := c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at shutdown: %v", err)
	}
	poll(t, func() bool { return get("") == 503 })
}

// A reader that is gone, or says more than a reader has to, is let go.
func TestTapLetsReadersGo(t *testing.T) {
	tap, address, _ := startTap(t, TapOptions{PingEvery: time.Millisecond})
	c := listen(t, tap, address, "")
	ctx := c.CloseRead(context.Background()) // answers pings
	for _, n := range []int{5, 5000} {
		if err := c.Write(context.Background(), websocket.MessageText, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	<-ctx.Done()
	poll(t, func() bool { return len(tap.current()) == 0 })
	c = listen(t, tap, address, "")
	_ = c.CloseNow()
	poll(t, func() bool { return len(tap.current()) == 0 })
}
