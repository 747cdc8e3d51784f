package contest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// exchanged are the bytes that nodes sent each other and got as answers, but for gossip.
var exchanged = []string{"minitrue_peer_sent_bytes_total", "minitrue_peer_received_bytes_total"}

// awayFromCluster takes a node away from three under load, first with hints that are kept for it, then without, and measures what it
// takes to bring it what it missed; and then what an equal cluster exchanges that nobody uses.
func awayFromCluster(ctx context.Context, t *trial) error {
	for _, way := range []struct{ id, name, hints string }{{"hints", "by hints", "--hint-size=1GB"}, {"repair", "by comparing digests alone", "--hint-size=0"}} {
		if err := t.begin(ctx, 3, way.hints); err != nil {
			return err
		}
		ratio, took, err := t.bringBack(ctx)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%v away under load, %s", t.o.Sizes.Away, way.name)
		t.record(Figure{ID: "away." + way.id, Name: name + ": bytes exchanged, beside those of the missing data", Unit: Times, Goal: AtMost(1.5)}, ratio)
		t.record(Figure{ID: "away.time." + way.id, Name: name + ": equal again after", Unit: Seconds}, took.Seconds())
		if way.id == "repair" {
			if err := t.idle(ctx); err != nil {
				return err
			}
		}
		if err := t.end(); err != nil {
			return err
		}
	}
	return nil
}

// bringBack measures one absence. The load ends with it, so that all that is exchanged afterwards is what was missed.
func (t *trial) bringBack(ctx context.Context) (ratio float64, took time.Duration, err error) {
	l, err := t.steadily(ctx, 10)
	if err != nil {
		return 0, 0, err
	}
	defer l.stop()
	if err := sleep(ctx, t.before()); err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	stored := l.samples
	l.mu.Unlock()
	sent, err := t.sum(ctx, "minitrue_cluster_write_forwarded_bytes_total")
	if err != nil {
		return 0, 0, err
	}
	perCopy := sent / float64(2*stored) // to two others
	gone := t.nodes[2]
	if err := gone.stop(); err != nil {
		return 0, 0, err
	}
	t.nodes = t.nodes[:2]
	t.logf("a node is away for %v", t.o.Sizes.Away)
	if err := sleep(ctx, t.o.Sizes.Away); err != nil {
		return 0, 0, err
	}
	all, err := l.end()
	if err != nil {
		return 0, 0, err
	}
	missing := float64(all-stored) * perCopy
	was, err := t.sum(ctx, exchanged...)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := t.start(ctx, gone); err != nil {
		return 0, 0, err
	}
	t.nodes = append(t.nodes, gone)
	if err := errors.Join(t.untilActive(ctx, 3), t.untilEqual(ctx)); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	is, err := t.sum(ctx, exchanged...) // the one that was away counts from zero
	t.raw("away", map[string]any{"samples": all - stored, "missing_bytes": missing, "exchanged_bytes": is - was, "seconds": took.Seconds()})
	t.logf("equal again after %v: %.0f bytes for %s samples, which were %.0f bytes to write", took.Round(100*time.Millisecond), is-was, group(all-stored), missing)
	return (is - was) / missing, took, err
}

// idle measures what an equal cluster exchanges.
func (t *trial) idle(ctx context.Context) error {
	from, err := loopback()
	if err != nil {
		return err
	}
	if err := sleep(ctx, t.o.Sizes.Idle); err != nil {
		return err
	}
	to, err := loopback()
	if err != nil {
		return err
	}
	perNode := float64(to-from) / float64(len(t.nodes)) / t.o.Sizes.Idle.Seconds()
	t.report.note("what an idle cluster exchanges is all traffic on loopback, headers and gossip included: of other programs too, so that none should run")
	t.record(Figure{ID: "idle", Name: "an idle, equal cluster of three: traffic a second and node", Unit: Bytes, Goal: AtMost(10 << 10)}, perNode)
	return nil
}

// loopback is how many bytes the kernel has sent on loopback.
func loopback() (n int64, err error) {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			_, err := fmt.Sscan(rest, &n)
			return n, err
		}
	}
	return 0, errors.New("/proc/net/dev has no loopback")
}
