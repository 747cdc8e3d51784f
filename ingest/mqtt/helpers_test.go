package mqtt

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// letters keeps dead letters.
type letters struct {
	mu  sync.Mutex
	all []string // reason: payload
}

func (l *letters) Add(_, _, reason string, _ error, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprintf("%s: %.40s", reason, payload))
}

func (l *letters) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.all...)
}

// memory is an appender that keeps everything, and fails when it is told to.
type memory struct {
	mu    sync.Mutex
	fail  error
	block chan struct{} // when set, appends wait for it
	got   []string      // series@t=v in order of arrival
}

func (m *memory) Append(ctx context.Context, b *series.Batch) error {
	m.mu.Lock()
	block := m.block
	m.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	for _, e := range b.Series {
		if e.Bad {
			continue
		}
		name := ""
		if err := series.EachLabel(e.Key, func(_, v string) { name += "/" + v }); err != nil {
			return err
		}
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			m.got = append(m.got, fmt.Sprintf("%s@%d=%v", name[1:], s.T, s.V))
		}
	}
	return nil
}

func (m *memory) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.got...)
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// startBroker runs a broker on a free port until the test ends.
func startBroker(tb testing.TB, next Appender, o BrokerOptions) *Broker {
	tb.Helper()
	b, _ := startBrokerLetters(tb, next, o)
	return b
}

func startBrokerLetters(tb testing.TB, next Appender, o BrokerOptions) (*Broker, *letters) {
	tb.Helper()
	l := &letters{}
	o.Listen = "127.0.0.1:0"
	b := NewBroker(next, l, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(patience):
			tb.Error("the broker does not end")
		}
	})
	select {
	case <-b.Ready():
	case err := <-ended:
		tb.Fatal(err)
	}
	return b, l
}

// patience is how long a test waits for what happens in a moment on a machine with nothing else to do.
const patience = time.Minute

// eventually polls until f returns "".
func eventually(tb testing.TB, f func() string) {
	tb.Helper()
	var last string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if last = f(); last == "" {
			return
		}
	}
	tb.Fatal(last)
}
