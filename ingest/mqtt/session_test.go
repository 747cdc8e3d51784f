package mqtt

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// gates hold back what has a value until the verdict on it is given.
type gates struct {
	memory
	gates map[float64]gate
}

type gate struct {
	reached chan struct{}
	verdict chan error // closed: all is stored
}

func newGates(values ...float64) *gates {
	g := &gates{gates: map[float64]gate{}}
	for _, v := range values {
		g.gates[v] = gate{make(chan struct{}, 8), make(chan error, 1)}
	}
	return g
}

func (g *gates) Append(ctx context.Context, b *series.Batch) error {
	if gate, ok := g.gates[b.Samples[0].V]; ok {
		gate.reached <- struct{}{}
		select {
		case err := <-gate.verdict:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.memory.Append(ctx, b)
}

// A client that has lost its state may use the id of a message that is still on its way for another one. What becomes of the first says
// nothing of the second.
func TestReusedIDWhileCommitting(t *testing.T) {
	for _, r := range []struct {
		name          string
		first, second error
	}{
		{"the first is stored, the second not", nil, errors.New("disk full")},
		{"the first is not stored, the second is", errors.New("disk full"), nil},
	} {
		t.Run(r.name, func(t *testing.T) {
			// Each in a pack of its own, on which is reported in this order.
			g := newGates(1, 5, 2)
			first, between, second := g.gates[1], g.gates[5], g.gates[2]
			b := startBroker(t, g, BrokerOptions{Tuning: Tuning{RetryFor: time.Nanosecond}})
			addr := b.Addr().String()
			p := connect(t, addr, "c", 4, 0)
			p.publish(2, 3, topicT, `{"value":1,"timestamp":1}`)
			<-first.reached
			other := connect(t, addr, "other", 4, 2)
			other.publish(1, 9, topicT, `{"value":5,"timestamp":5}`)
			<-between.reached
			q := connect(t, addr, "c", 4, 0)
			p.wantEnd()
			q.publish(2, 3, topicT, `{"value":2,"timestamp":2}`)
			<-second.reached
			first.verdict <- r.first
			between.verdict <- nil
			other.want(0x40, 9) // so the first has been reported on
			q.wantPing()        // and has not been acknowledged here
			second.verdict <- r.second
			close(second.verdict)
			want := []string{"t/d@5000=5", "t/d@2000=2"}
			if r.first == nil {
				want = append(want, "t/d@1000=1")
			}
			if r.second != nil {
				q.wantEnd()
				q = connect(t, addr, "c", 4, 0)
				q.publish(2, 3, topicT, `{"value":2,"timestamp":2}`)
			}
			q.want(0x50, 3)
			q.publish(2, 3, topicT, `{"value":2,"timestamp":2}`)
			q.want(0x50, 3)
			wantSamples(t, &g.memory, want...)
		})
	}
}
