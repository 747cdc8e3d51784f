package cluster

import (
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A node that is up and does not answer is waited for by few of many questions, and asked again when it answers.
func TestSilentNodeIsAvoided(t *testing.T) {
	const questions, patience = 100, 300 * time.Millisecond
	c := newReadCluster(t, 4, 3, ReaderOptions{Fresh: time.Hour, Hedge: patience})
	c.fill(t, rand.New(rand.NewPCG(1, 90)), 0)
	var silent atomic.Bool
	var asked atomic.Int64
	stall := func(_ http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		if silent.Load() {
			_, _ = io.ReadAll(r.Body) // until then the server does not notice that the other side has gone
			<-r.Context().Done()
			return false
		}
		return true
	}
	c.nodes[1].before.Store(&stall)
	silent.Store(true)
	reader := c.nodes[0].reader
	start := time.Now()
	for range questions {
		began := time.Now()
		if _, err := scanAll(t.Context(), reader, query{mint: firstTime, maxt: lastTime}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("a question took %v", took)
		}
	}
	most := 2 * (1 + time.Since(start)/trialEvery) // a question may ask for digests and for samples
	if n := asked.Load(); n == 0 || n > int64(2*most) {
		t.Errorf("%d questions ask the silent node %d times in %v", questions, n, time.Since(start))
	}
	silent.Store(false)
	before := asked.Load()
	for deadline := time.Now().Add(10 * time.Second); asked.Load() < before+10; {
		if _, err := scanAll(t.Context(), reader, query{mint: firstTime, maxt: lastTime}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not asked though it would answer")
		}
	}
}
