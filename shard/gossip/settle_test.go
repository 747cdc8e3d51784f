package gossip

import (
	"errors"
	"testing"
)

// A node that was away agrees with the others when it has what was written meanwhile, and not while it reaches nobody.
func TestAgreed(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	w.kill(c)
	if err := a.Put(map[string][]byte{DeletePrefix + "x": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	w.partition(c.addr)
	again := w.start(c.o)
	until(t, "it asks", func() error {
		if w.sent(c.addr) == 0 {
			return errors.New("it has sent nothing")
		}
		return nil
	})
	select {
	case <-again.Agreed():
		t.Error("it agrees, and reaches nobody")
	default:
	}
	w.partition()
	<-again.Agreed()
	if len(again.Others()) != 1 {
		t.Errorf("it agrees, and has heard of %q", again.Others())
	}
}

// Nodes that were away together and come back together know the same, and do not take that for all that there is.
func TestAgreedWithWhoWasAwayToo(t *testing.T) {
	for range 10 {
		w := newWorld(t)
		a, b, c := three(w)
		w.kill(b)
		w.kill(c)
		if err := a.Put(map[string][]byte{DeletePrefix + "x": []byte("1")}); err != nil {
			t.Fatal(err)
		}
		again := []*node{w.start(b.o), w.start(c.o)}
		for _, n := range again {
			<-n.Agreed()
			if len(n.Others()) != 1 {
				t.Errorf("%s agrees, and has not heard of what was decided while it was away", n.o.Name)
			}
		}
		for _, n := range append(again, a) {
			n.stop()
		}
	}
}
