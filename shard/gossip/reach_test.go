package gossip

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minitrue/minitrue/shard"
)

// A node joins when it reaches a member by the way that data takes, and not before; nothing of the cluster changes until then. When it is known
// it comes back without that.
func TestANodeThatIsNotReachedDoesNotJoin(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	until(t, "n1 is active", a.activate)
	epoch := a.View().Ring.Epoch()
	var open atomic.Bool
	var asked atomic.Int64
	o := w.options(2, a.addr)
	o.Reach = func(_ context.Context, m shard.Member) error {
		if m.Name != "n1" || m.Peer != "10.0.0.1:8000" || !m.Up {
			t.Errorf("it asks %+v", m)
		}
		asked.Add(1)
		if open.Load() {
			return nil
		}
		return errors.New("wrong certificate")
	}
	b := w.start(o)
	until(t, "n2 has tried several times and says why it does not join", func() error {
		if n := asked.Load(); n < 5 || !strings.Contains(b.log.String(), "wrong certificate") {
			return fmt.Errorf("it has asked %d times", n)
		}
		return nil
	})
	if a.View().Ring.Epoch() != epoch || len(a.View().Members) != 1 || b.View().Self >= 0 {
		t.Errorf("n1 sees %v, n2 %v", a.View().Members, b.View().Members)
	}
	if n := strings.Count(b.log.String(), "wrong certificate"); n > 1 {
		t.Errorf("it says so %d times", n)
	}
	open.Store(true)
	until(t, "n2 is active", b.activate)
	agree(t, a, b)
	b.stop()
	open.Store(false)
	before := asked.Load()
	b = w.start(o)
	agree(t, a, b)
	if asked.Load() != before {
		t.Error("a node that is known asks as if it were to join")
	}
}
