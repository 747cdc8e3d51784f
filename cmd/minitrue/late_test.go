package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A sensor that was out of reach for nine hours sends its readings, the last one first, while others go
// on. Each reading is there as soon as it is acknowledged.
func TestLateReadings(t *testing.T) {
	t.Parallel()
	const (
		readings = 9 * 360 // one in ten seconds
		step     = 360     // readings before it is asked what is there
	)
	n := startNode(t, "--memtable-size=1MB")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 2000, 50_000)
	fresh := newWriter(n, "fresh")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		fresh.run(ctx)
	}()

	late := sensor(t, n.mqtt, "late")
	now := time.Now().Truncate(time.Second)
	sum := 0.0
	for sent := 0; sent < readings; {
		tokens := make([]paho.Token, 0, step)
		for range step {
			v := float64(sent%400)/10 + 5
			sum += v
			at := now.Add(-time.Duration(sent) * 10 * time.Second).Unix()
			tokens = append(tokens, late.Publish("iot/sensors/temperature/late", 1, false, fmt.Sprintf(`{"timestamp":%d,"value":%.1f}`, at, v)))
			sent++
		}
		for _, token := range tokens {
			if !token.WaitTimeout(time.Minute) || token.Error() != nil {
				t.Fatalf("a reading is not acknowledged: %v", token.Error())
			}
		}
		a, err := ask(n.url, "late", "temperature", "sum")
		if err != nil || a.Count != int64(sent) || a.Result == nil || !near(*a.Result, sum) {
			t.Fatalf("after %d readings POST /query has %+v (%v), want a sum of %v", sent, a, err, sum)
		}
		got, err := scalar(n.url, `count_over_time(temperature{device_id="late"}[10h])`)
		if err != nil || got != float64(sent) {
			t.Fatalf("after %d readings PromQL has %v, %v", sent, got, err)
		}
	}
	// The raw samples, in order.
	rs, err := instant(n.url, `temperature{device_id="late"}[10h]`, time.Time{})
	if err != nil || len(rs) != 1 || len(rs[0].Values) != readings {
		t.Fatalf("%d series, %v", len(rs), err)
	}
	for i, v := range rs[0].Values {
		k := readings - 1 - i
		if at, text := v[0].(float64), fmt.Sprint(v[1]); int64(at) != now.Add(-time.Duration(k)*10*time.Second).Unix() ||
			text != strings.TrimSuffix(fmt.Sprintf("%.1f", float64(k%400)/10+5), ".0") {
			t.Fatalf("reading %d is %v", i, v)
		}
	}
	stop()
	<-ended
	l.check(t, n.url)
	fresh.check(t, n)
}

// near allows for another order of summation.
func near(a, b float64) bool { return a-b < 1e-9*b && b-a < 1e-9*b }
