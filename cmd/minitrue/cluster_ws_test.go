package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// ear is a reader of /ws that keeps what it got.
type ear struct {
	mu      sync.Mutex // guards what follows
	samples map[string]int
	missing []string // nodes that are not heard
	dropped int
	ended   error
}

// newEar connects to a node.
func newEar(t *testing.T, n *node, query string) *ear {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(n.url, "http")+"/ws?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	e := &ear{samples: map[string]int{}}
	go func() {
		for {
			_, text, err := c.Read(t.Context())
			if !e.take(text, err) {
				return
			}
		}
	}()
	return e
}

func (e *ear) take(text []byte, err error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	var m struct {
		Device  string    `json:"device_id"`
		Time    int64     `json:"timestamp"`
		Dropped int       `json:"dropped"`
		Missing *[]string `json:"missing"`
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	switch {
	case err != nil:
		e.ended = err
		return false
	case m.Missing != nil:
		e.missing = *m.Missing
	case m.Dropped > 0:
		e.dropped += m.Dropped
	default:
		e.samples[fmt.Sprintf("%s@%d", m.Device, m.Time)]++
	}
	return true
}

// untilMissing waits until the reader was told that just these nodes are not heard.
func (e *ear) untilMissing(t *testing.T, names ...string) {
	t.Helper()
	proc.Until(t, fmt.Sprintf("the nodes that are not heard are %v", names), func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !slices.Equal(e.missing, names) {
			return fmt.Errorf("they are %v", e.missing)
		}
		return nil
	})
}

// untilHeard waits until every reading that the writers have acknowledged has come, once.
func (e *ear) untilHeard(t *testing.T, writers []*writer) {
	t.Helper()
	proc.Until(t, "the reader of /ws has what was acknowledged", func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.ended != nil || e.dropped > 0 {
			t.Fatalf("%d samples were dropped; the reader ended: %v", e.dropped, e.ended)
		}
		for _, w := range writers {
			for _, seq := range w.acked {
				if name := fmt.Sprintf("%s@%d", w.device, w.base+int64(seq)); e.samples[name] == 0 {
					return errors.New(name + " is missing")
				}
			}
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, n := range e.samples {
		if n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
}

// publishAll publishes through each node.
func publishAll(t *testing.T, nodes []*node, round string) (writers []*writer) {
	t.Helper()
	for i, n := range nodes {
		w := newWriter(n, fmt.Sprintf("%s-%d", round, i+1))
		publishFor(t, w, 2*window)
		writers = append(writers, w)
	}
	return writers
}

// Whoever listens at one node hears what all accept, each sample once though three nodes keep it; also after another node was killed,
// and after one was stopped.
func TestClusterWS(t *testing.T) {
	t.Parallel()
	nodes, _ := startCluster(t, 3)
	e := newEar(t, nodes[0], "")
	some := newEar(t, nodes[1], "match[]=sequence{device_id=~%22.*-3%22}")
	all := publishAll(t, nodes, "first")
	e.untilHeard(t, all)
	some.untilHeard(t, all[2:]) // a node that is killed tells nobody any more what it had not told before

	nodes[2].Kill(t)
	e.untilMissing(t, "n3")
	some.untilMissing(t, "n3")
	all = append(all, publishAll(t, nodes[:2], "killed")...)
	nodes[2].start(t)
	e.untilMissing(t)
	some.untilMissing(t)
	all = append(all, publishAll(t, nodes, "back")...)
	e.untilHeard(t, all)

	last := newWriter(nodes[2], "stopped-3")
	publishFor(t, last, 2*window)
	if code := nodes[2].Stop(t); code != 0 { // what it has acknowledged is sent before it goes
		t.Errorf("exit code %d", code)
	}
	e.untilMissing(t, "n3")
	some.untilMissing(t, "n3")
	all = append(all, last)
	e.untilHeard(t, all)
	nodes[2].start(t)
	e.untilMissing(t)
	some.untilMissing(t)
	all = append(all, publishAll(t, nodes, "again")...)
	e.untilHeard(t, all)

	var third []*writer
	for _, w := range all {
		if strings.HasSuffix(w.device, "-3") {
			third = append(third, w)
		}
	}
	some.untilHeard(t, third)
	some.mu.Lock()
	defer some.mu.Unlock()
	for name := range some.samples {
		if !strings.Contains(name, "-3@") {
			t.Errorf("%s was not asked for", name)
		}
	}
}
