package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/proc"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// kills is how often a node is killed: 5 times, or as often as the environment says.
func kills(t *testing.T) int {
	text := os.Getenv("MINITRUE_KILLS")
	switch {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("MINITRUE_KILLS: %v", err)
		}
		return n
	case testing.Short():
		return 2
	}
	return 5
}

// A node is killed again and again, at any moment, while Prometheus and sensors write and small
// memtables are flushed and merged all the time. It comes back by itself, and what it acknowledged
// is there, once and as it was sent.
func TestKill(t *testing.T) {
	t.Parallel()
	n := newNode(t, "--memtable-size=1MB")
	n.start(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 5000, 150_000)
	var writers []*writer
	var wg sync.WaitGroup
	for i := range 4 {
		w := &writer{device: fmt.Sprintf("writer-%d", i), base: time.Now().Add(-time.Hour).UnixMilli()}
		w.client = sensor(t, n.mqtt, w.device)
		writers = append(writers, w)
		wg.Go(func() { w.run(ctx) })
		wg.Go(func() { w.watch(ctx, t, n.url) })
	}

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for i := range kills(t) {
		moment := time.NewTimer(time.Duration(rnd.Int64N(int64(800 * time.Millisecond))))
		select {
		case <-ctx.Done():
		case <-moment.C:
		}
		n.Kill(t)
		if i%3 == 2 { // and in the middle of its start
			n.launch(t)
			time.Sleep(time.Duration(rnd.Int64N(int64(100 * time.Millisecond))))
			n.Kill(t)
		}
		n.start(t)
	}
	stop()
	wg.Wait()
	l.check(t, n.url)
	for _, w := range writers {
		w.check(t, n)
	}
	blocks, err := filepath.Glob(filepath.Join(n.data, "blocks", "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d blocks", len(blocks)); len(blocks) == 0 {
		t.Error("no memtable was flushed")
	}
}

// load is a remote_write load that notes what was acknowledged.
type load struct {
	shape  workload.Shape
	path   string // of the log
	log    *bench.AckedLog
	ended  chan struct{}
	report bench.LoadReport
	err    error
}

// startLoad writes until ctx ends: this many series, and this many samples a second.
func startLoad(ctx context.Context, t *testing.T, url string, series int, rate float64) *load {
	t.Helper()
	const steps = 1_000_000
	l := &load{path: filepath.Join(t.TempDir(), "acked"), ended: make(chan struct{})}
	l.shape = workload.Shape{Series: series, Samples: steps, Interval: 1000, Seed: 1, Values: workload.Unique}
	l.shape.Start = time.Now().UnixMilli() - steps*l.shape.Interval
	var err error
	if l.log, err = bench.CreateAckedLog(l.path, l.shape); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.ended)
		l.report, l.err = bench.Load(ctx, bench.LoadOptions{URL: url, Shape: l.shape, Batch: 1000, Rate: rate, Acked: l.log})
	}()
	return l
}

// check waits for the end of the load and looks for what was acknowledged.
func (l *load) check(t *testing.T, url string) {
	t.Helper()
	<-l.ended
	if l.err != nil && !errors.Is(l.err, context.Canceled) {
		t.Errorf("load: %v", l.err)
	}
	if err := l.log.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	shape, acked, err := bench.ReadAcked(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := bench.Check(t.Context(), bench.CheckOptions{URL: url, Shape: trim(shape, acked), Acked: acked})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("load: %d samples acknowledged, %d read, %d retries", r.Acked, r.Read, l.report.Retries)
	if r.Acked == 0 {
		t.Error("nothing was acknowledged")
	}
	if err := r.Err(); err != nil {
		t.Error(err, r.Faults)
	}
}

// trim leaves out the steps that the load did not come to; one more may be there though it was not
// acknowledged.
func trim(s workload.Shape, acked []bench.Acked) workload.Shape {
	last := 0
	for _, a := range acked {
		last = max(last, a.Step)
	}
	s.Samples = min(s.Samples, last+2)
	return s
}

// writer is a sensor whose reading number seq has the value seq and is seq milliseconds after base.
type writer struct {
	client paho.Client
	device string
	base   int64
	acked  []int // sequence numbers
	sent   int   // sequence numbers below were sent

	some atomic.Int64 // at least so many are acknowledged
	most atomic.Int64 // no more than so many were ever sent
}

const window = 32 // messages of a writer that wait for their PUBACK

// run publishes until ctx ends. What was lost with its connection is not sent again.
func (w *writer) run(ctx context.Context) {
	tokens := make([]paho.Token, window)
	for ctx.Err() == nil {
		if !w.client.IsConnectionOpen() {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		w.most.Store(int64(w.sent + window))
		for i := range tokens {
			payload := fmt.Sprintf(`{"device_id":%q,"metric_name":"sequence","timestamp":%d,"value":%d}`, w.device, w.base+int64(w.sent+i), w.sent+i)
			tokens[i] = w.client.Publish("iot/sensors/sequence", 1, false, payload)
		}
		for i, token := range tokens {
			if token.WaitTimeout(time.Minute) && token.Error() == nil {
				w.acked = append(w.acked, w.sent+i)
			}
		}
		w.sent += window
		w.some.Store(int64(len(w.acked)))
	}
}

// watch asks again and again how many readings are there, by way of the statistics and by way of
// the samples. Neither may miss one that is acknowledged, or count one twice, while memtables are frozen
// and written and blocks are merged. No answer is a node that is being killed.
func (w *writer) watch(ctx context.Context, t *testing.T, url string) {
	answers := 0
	for ctx.Err() == nil {
		some := w.some.Load()
		a, err := ask(url, w.device, "sequence", "count")
		if most := w.most.Load(); err == nil && (a.Count < some || a.Count > most) {
			t.Errorf("%s: POST /query counts %d readings, between %d and %d are there", w.device, a.Count, some, most)
		}
		some = w.some.Load()
		got, err2 := scalar(url, fmt.Sprintf(`count_over_time(sequence{device_id=%q}[2h])`, w.device))
		if most := w.most.Load(); err2 == nil && (int64(got) < some || int64(got) > most) {
			t.Errorf("%s: PromQL counts %v readings, between %d and %d are there", w.device, got, some, most)
		}
		if err == nil && err2 == nil {
			answers++
		} else {
			time.Sleep(5 * time.Millisecond)
		}
	}
	if answers == 0 {
		t.Errorf("%s: nobody answered how many readings are there", w.device)
	}
}

// check compares what was acknowledged with what is there.
func (w *writer) check(t *testing.T, n *node) {
	t.Helper()
	var got samples
	proc.Until(t, "the samples of "+w.device+" are read", func() (err error) {
		got, err = read(t, n.url, time.UnixMilli(w.base-1000), time.Now(), "",
			labels.MustNewMatcher(labels.MatchEqual, "device_id", w.device))
		return err
	})
	name := labels.FromStrings(labels.MetricName, "sequence", "device_id", w.device).String()
	if len(got) != 1 || got[name] == nil {
		t.Fatalf("%s has %d series", w.device, len(got))
	}
	t.Logf("%s: %d of %d messages acknowledged, %d read", w.device, len(w.acked), w.sent, len(got[name]))
	if len(w.acked) == 0 {
		t.Errorf("%s: nothing was acknowledged", w.device)
	}
	lost := 0
	for _, seq := range w.acked {
		if _, ok := got[name][w.base+int64(seq)]; !ok {
			if lost++; lost < 10 {
				t.Errorf("%s: message %d was acknowledged and is lost", w.device, seq)
			}
		}
	}
	if lost > 0 {
		t.Errorf("%s: %d acknowledged messages are lost", w.device, lost)
	}
	for at, value := range got[name] {
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil || int64(v) != at-w.base || int(v) >= w.sent {
			t.Fatalf("%s: the sample at %d is %s", w.device, at, value)
		}
	}
}
