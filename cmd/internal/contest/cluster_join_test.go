package contest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// A write that takes long makes those late that were due meanwhile, and all of them count: one stall is not one slow write.
func TestSteadyCountsWhatIsLate(t *testing.T) {
	const (
		requests = 50
		stall    = 400 * time.Millisecond
	)
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 5 {
			time.Sleep(stall)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	to, err := bench.NewLoader(bench.LoadOptions{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	s := workload.Shape{Series: 2, Samples: 1000, Interval: 20, Seed: 1, Values: workload.Walk, Start: 1}
	batch, err := s.NewBatch(workload.V1, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	l := &steady{}
	go func() {
		defer close(done)
		l.write(ctx, to, batch, requests)
	}()
	for deadline := time.Now().Add(30 * time.Second); n.Load() < 40 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	slow := 0
	for _, took := range l.took {
		if took >= stall/4 {
			slow++
		}
	}
	if l.err != nil || len(l.took) < 39 || slow < 10 {
		t.Errorf("%d writes, of which %d took long or came late (%v), want at least 10", len(l.took), slow, l.err)
	}
}
