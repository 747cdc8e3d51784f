package gossip

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/shard"
)

// ended waits for the end of Run.
func ended(t testing.TB, n *node) (err error) {
	t.Helper()
	until(t, n.o.Name+" ends", func() error {
		select {
		case err = <-n.end:
			return nil
		default:
			return errors.New("it runs")
		}
	})
	return err
}

func TestDownAndUpAgain(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	epoch := a.View().Ring.Epoch()
	w.kill(b)
	sees(t, a, "n2 is down", up(b.ID(), false))
	sees(t, c, "n2 is down", up(b.ID(), false))
	again := w.start(b.o)
	if again.ID() != b.ID() || again.View().Self < 0 {
		t.Error("a node that starts again is not what it was")
	}
	agree(t, a, again, c)
	if a.View().Ring.Epoch() != epoch {
		t.Error("down and up again is a change of the ring")
	}
}

func TestAGoodbyeIsHeardAtOnce(t *testing.T) {
	w := newWorld(t)
	o := w.options(1)
	o.Probe *= 1000 // nobody finds out by asking
	a := w.start(o)
	o = w.options(2, addrOf(1))
	b := w.join(o, a)
	b.stop()
	sees(t, a, "n2 is down", up(b.ID(), false))
}

// TestRestart restarts a node at once, at the same address and at another one, and after it was stopped and after it was killed.
func TestRestart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for _, addr := range []string{addrOf(2), addrOf(9)} {
			t.Run(fmt.Sprintf("killed=%v,%s", killed, addr), func(t *testing.T) {
				w := newWorld(t)
				a, b, c := three(w)
				if killed {
					w.kill(b)
				} else {
					b.stop()
				}
				o := b.o
				o.Advertise, o.Name, o.HTTP = addr, "renamed", "10.0.0.9:81"
				again := w.start(o)
				agree(t, a, again, c)
				v := a.View()
				if m := v.Members[v.Ring.Index(b.ID())]; m.HTTP != o.HTTP || len(v.Members) != 3 {
					t.Errorf("the others see %+v", v.Members)
				}
			})
		}
	}
}

func TestAllRestartAtOnce(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	for _, n := range []*node{a, b, c} {
		w.kill(n)
	}
	for _, n := range []*node{a, b, c} {
		n.o.Seeds = nil // the records are enough
		*n = *w.start(n.o)
		if v := n.View(); v.Self < 0 || len(v.Members) != 3 {
			t.Errorf("after a restart %s sees %+v", n.o.Name, v.Members)
		}
	}
	agree(t, a, b, c)
}

// copyFolder copies the data folder of a node, as somebody does who wants another one.
func copyFolder(t *testing.T, n *node) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(n.o.Dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheLaterOfTwoTwinsIsRefused(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	o := b.o
	o.Dir, o.Advertise = copyFolder(t, b), addrOf(9)
	twin := w.start(o)
	if err := ended(t, twin); !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), addrOf(2)) {
		t.Errorf("the twin ends with: %v", err)
	}
	agree(t, a, b, c)
	select {
	case err := <-b.end:
		t.Errorf("the first ends too: %v", err)
	default:
	}
	until(t, "the first says what happened", func() error {
		if !strings.Contains(b.log.String(), "a copy of the data folder") {
			return errors.New("it says nothing")
		}
		return nil
	})
}

func TestTwinsThatMeetAfterASplit(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	w.partition(addrOf(9))
	o := b.o
	o.Dir, o.Advertise = copyFolder(t, b), addrOf(9)
	twin := w.start(o)
	twin.settled.Store(true) // as after its cluster was lost
	w.partition()
	if err := ended(t, twin); !errors.Is(err, ErrDuplicate) {
		t.Errorf("the twin ends with: %v", err)
	}
	agree(t, a, b, c)
}

func TestAHealedSplitIsOneCluster(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	d := w.join(w.options(4, addrOf(3)), a, b, c)
	w.partition(addrOf(1), addrOf(2))
	for _, n := range []*node{a, b} {
		sees(t, n, "n3 is down", up(c.ID(), false))
		sees(t, n, "n4 is down", up(d.ID(), false))
	}
	sees(t, c, "n1 is down", up(a.ID(), false))
	sees(t, d, "n2 is down", up(b.ID(), false))
	for _, n := range []*node{a, b, c, d} {
		until(t, "memberlist forgets the dead", func() error {
			if got := n.members.count(); got != 2 {
				return fmt.Errorf("%d members", got)
			}
			return nil
		})
	}
	// Both sides go on, and decide something.
	err := a.SetSetting("write-consistency", "one")
	for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; { // which of two decisions is the later is known to the millisecond
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(err, c.SetSetting("write-consistency", "all"), d.SetSetting("replication-factor", "2")); err != nil {
		t.Fatal(err)
	}
	w.partition()
	agree(t, a, b, c, d)
	if got := a.Setting("write-consistency"); got != "all" || c.Setting("write-consistency") != got || b.View().Ring.Resizing() != 2 {
		t.Errorf("the later decision was all, and it is %q", got)
	}
}

func TestOneWaySplit(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	w.mu.Lock()
	w.cut = func(from, to string) bool { return from == addrOf(2) && to == addrOf(1) }
	w.mu.Unlock()
	if err := b.SetSetting("write-consistency", "all"); err != nil {
		t.Fatal(err)
	}
	until(t, "the decision comes the other way", func() error {
		if got := a.Setting("write-consistency"); got != "all" {
			return errors.New(got)
		}
		return nil
	})
	w.partition()
	agree(t, a, b, c)
}

func TestRecordsThatWereLostAreFetched(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	b.stop()
	if err := os.Remove(filepath.Join(b.o.Dir, recordsFile)); err != nil {
		t.Fatal(err)
	}
	again := w.start(b.o)
	agree(t, a, again, c)
	if v := again.View(); v.Members[v.Self].State != shard.Active {
		t.Errorf("the node is %v", v.Members[v.Self].State)
	}
}

func TestRefusedOptions(t *testing.T) {
	rows := map[string]Options{
		"seeds without an address": {Seeds: []string{"a:1"}},
		"weight":                   {Weight: -1},
		"secret":                   {Secret: []byte("short")},
		"replication":              {Replication: 99},
		"consistency":              {Consistency: "most"},
		"seed":                     {Bind: "127.0.0.1:0", Seeds: []string{"host"}},
		"port of a seed":           {Bind: "127.0.0.1:0", Seeds: []string{"host:gossip"}},
		"long name":                {Name: strings.Repeat("n", 300)},
	}
	for name, o := range rows {
		o.Dir = t.TempDir()
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			t.Errorf("%s: files are left", name)
		}
	}
}
