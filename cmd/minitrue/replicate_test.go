package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// total is the sum of a metric of some nodes.
func total(t *testing.T, name string, nodes ...*node) (sum float64) {
	t.Helper()
	for _, n := range nodes {
		v, err := n.metric(name)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// untilSent waits until nothing waits on these nodes for another cluster.
func untilSent(t *testing.T, nodes ...*node) {
	t.Helper()
	proc.Until(t, "everything is sent to the other cluster", func() error {
		for _, n := range nodes {
			pending, err := n.metric("minitrue_replicate_pending_bytes")
			if err != nil {
				return err
			}
			if pending > 0 {
				return fmt.Errorf("%v bytes wait on %s", pending, n.url)
			}
		}
		return nil
	})
}

// Two clusters send each other what they accept, and one of them is away for a while under load: in the end both have the same, bit for bit, and
// nothing went over more than once.
func TestReplicateBothWays(t *testing.T) {
	t.Parallel()
	b := newNode(t)
	as, _ := startCluster(t, 2, "--replicate-to="+b.url)
	b.args = append(b.args, "--replicate-to="+as[1].url)
	b.start(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoadOf(t.Context(), t, as[0].url, 2000, 20, 5_000) // to its end: of a request that is cut off, only one side may have something
	var writers []*writer
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for i, n := range as {
		w := newWriter(n, fmt.Sprintf("writer-%d", i))
		w.pause = 10 * time.Millisecond
		writers = append(writers, w)
		wg.Go(func() { w.run(ctx) })
	}
	untilScalar(t, b.url, `count(count_over_time(sequence[2h]))`, func(v float64) bool { return v == 2 })
	if code := b.Stop(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	proc.Until(t, "much waits for it", func() error {
		for _, n := range as {
			pending, err := n.metric("minitrue_replicate_pending_bytes")
			if err != nil {
				return err
			}
			lag, err := n.metric("minitrue_replicate_lag_seconds")
			if err != nil {
				return err
			}
			if pending < 50_000 || lag < 2 {
				return fmt.Errorf("on %s %v bytes wait, for %v seconds", n.url, pending, lag)
			}
		}
		return nil
	})
	b.start(t)
	back := newWriter(b, "back") // and the other way
	publishFor(t, back, 2000)
	stop()
	wg.Wait()
	<-l.ended
	untilSent(t, append(as, b)...)
	untilEqual(t, append(as, b))

	checkSentOnce(t, as, b)
	l.check(t, b.url)
	for _, n := range append(as, b) {
		for _, w := range append(writers, back) {
			w.check(t, n)
		}
	}
}

// checkSentOnce compares what two clusters have sent each other with what they were given: what goes over twice counts twice. The second was given something
// by MQTT alone.
func checkSentOnce(t *testing.T, as []*node, b *node) {
	t.Helper()
	fromB := total(t, "minitrue_replicate_sent_samples_total", b)
	own, err := b.metric("minitrue_ingest_samples_total", "door=mqtt")
	if err != nil {
		t.Fatal(err)
	}
	if fromB != own {
		t.Errorf("the second cluster sent %v samples, and was given %v", fromB, own)
	}
	if fromA, all := total(t, "minitrue_replicate_sent_samples_total", as...), total(t, "minitrue_ingest_samples_total", as...); fromA != all-fromB {
		t.Errorf("the first cluster sent %v samples, and was given %v and %v from the second", fromA, all-fromB, fromB)
	}
	for _, metric := range []string{"minitrue_replicate_dropped_samples_total", "minitrue_replicate_refused_samples_total"} {
		if n := total(t, metric, append(as, b)...); n != 0 {
			t.Errorf("%s is %v", metric, n)
		}
	}
}

// The node that sends is killed again and again: nothing that it acknowledged is missing in the other cluster.
func TestReplicateKill(t *testing.T) {
	t.Parallel()
	b := startNode(t)
	a := startNode(t, "--memtable-size=1MB", "--replicate-to="+b.url)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, a.url, 20_000, 50_000)
	var writers []*writer
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for i := range 2 {
		w := newWriter(a, fmt.Sprintf("writer-%d", i))
		writers = append(writers, w)
		wg.Go(func() { w.run(ctx) })
	}
	untilScalar(t, b.url, `count(count_over_time(sequence[2h]))`, func(v float64) bool { return v == 2 })
	proc.Until(t, "the load has begun", func() error {
		taken, err := a.metric("minitrue_ingest_samples_total", "door=remote_write")
		if err == nil && taken < 10_000 { // more than its connections have under way
			err = fmt.Errorf("%v samples came", taken)
		}
		return err
	})
	for i := range kills(t) {
		time.Sleep(time.Duration(rand.Int64N(int64(800 * time.Millisecond)))) // any moment
		a.Kill(t)
		if i%2 == 1 { // and the other one
			b.Kill(t)
			b.start(t)
		}
		a.start(t)
	}
	stop()
	wg.Wait()
	<-l.ended
	untilSent(t, a)
	l.check(t, b.url)
	for _, w := range writers {
		w.check(t, b)
	}
}

func TestReplicateFlags(t *testing.T) {
	key := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(key, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []struct{ args, want string }{
		{"--replicate-to=http://other:8080,https://third", ""},
		{"--replicate_to=http://other:8080 --replicate_to=https://third", ""},
		{"--replicate-to=http://other --replicate-username=me --replicate-password-file=" + key, ""},
		{"--replicate-to=http://other --replicate-token-file=" + key, ""},
		{"--replicate-to=other:8080", "--replicate-to: "},
		{"--replicate-to=http://me:secret@other", "--replicate-to: "},
		{"--replicate-to=http://other --mode=query", "--replicate-to: "},
		{"--replicate-queue-size=1MB", "--replicate-queue-size: "},
		{"--replicate-queue-size=much", "--replicate-queue-size: "},
		{"--replicate-username=me", "--replicate-username: "},
		{"--replicate-username=me --replicate-password-file=/none/such", "--replicate-password-file: "},
		{"--replicate-token-file=/none/such", "--replicate-token-file: "},
		{"--replicate-token-file=" + key + " --replicate-username=me --replicate-password-file=" + key, "--replicate-token-file: "},
		{"--replicate-ca=" + key, "--replicate-ca: "},
		{"--replicate-cert=" + key, "--replicate-ca: "},
	}
	for _, row := range rows {
		f, err := settled(strings.Fields(row.args)...)
		switch {
		case row.want == "" && err != nil, row.want != "" && (err == nil || !strings.HasPrefix(err.Error(), row.want)):
			t.Errorf("%s: %v, want %q", row.args, err, row.want)
		case err != nil && strings.Contains(err.Error(), "me:secret"):
			t.Errorf("%s: the error tells the password: %v", row.args, err)
		case err == nil && len(f.ReplicateTo) == 2 && f.ReplicateTo[1] != "https://third/api/v1/write":
			t.Errorf("%s: %q", row.args, f.ReplicateTo)
		}
	}
}
