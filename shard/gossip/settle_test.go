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
