package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// examiner asks random nodes of a cluster, all the time, what it asks a node too that has all the data alone.
type examiner struct {
	oracle *node
	mu     sync.Mutex // guards nodes
	nodes  []*node

	asked             atomic.Int64 // questions
	gone, unavailable atomic.Int64 // how often one had to be put again, since a node was not there or said that others are not
	wrong             atomic.Int64
	ended             chan struct{}
	wg                sync.WaitGroup
}

const (
	examiners = 2
	mostWrong = 5                // then it is known
	unheard   = 20 * time.Second // longer than any question may wait for a cluster that has just lost a node
)

func (x *examiner) among(nodes ...*node) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.nodes = slices.Clone(nodes)
}

func (x *examiner) node(r *rand.Rand) *node {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.nodes[r.IntN(len(x.nodes))]
}

func (x *examiner) start(t *testing.T, p func(i int) poser) {
	x.ended = make(chan struct{})
	for i := range examiners {
		x.wg.Go(func() {
			for p := p(i); x.wrong.Load() < mostWrong; {
				select {
				case <-x.ended:
					return
				default:
					x.ask(t, p)
				}
			}
		})
	}
}

func (x *examiner) stop() {
	close(x.ended)
	x.wg.Wait()
}

// ask puts a question to a node of the cluster, and to others while none can answer.
func (x *examiner) ask(t *testing.T, p poser) {
	r := p.request()
	want, err := x.oracle.pose(r)
	if err != nil {
		t.Errorf("%s through the oracle: %v", r, err)
		x.wrong.Add(1)
		return
	}
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		n := x.node(p.Rand)
		got, err := n.pose(r)
		if time.Since(start) < unheard {
			if errors.Is(err, errGone) {
				x.gone.Add(1)
				continue
			}
			if errors.Is(err, errUnavailable) {
				x.unavailable.Add(1)
				continue
			}
		}
		if err == nil {
			err = got.differs(want)
		}
		if err != nil {
			t.Errorf("%s through %s: %v", r, n.url, err)
			x.wrong.Add(1)
		}
		x.asked.Add(1)
		return
	}
}

// untilAsked waits until so many more questions are answered.
func (x *examiner) untilAsked(t *testing.T, more int) {
	t.Helper()
	from := x.asked.Load()
	for last, at := from, time.Now(); x.asked.Load() < from+int64(more) && x.wrong.Load() < mostWrong; time.Sleep(20 * time.Millisecond) {
		if n := x.asked.Load(); n > last {
			last, at = n, time.Now()
		} else if time.Since(at) > 3*unheard {
			t.Fatalf("no question is answered since %d were", n)
		}
	}
}

// Every answer of a cluster, through whichever node, is that of one node which has all the data: while nodes join, are killed and come back,
// leave, and are replaced, and other series are being written.
func TestClusterAnswersAsOneNode(t *testing.T) {
	t.Parallel()
	const span = 5 * time.Hour // the newest of it is read from several replicas, and the rest is left to one whose digest agrees
	each := 300                // questions during a change, at least
	if testing.Short() {
		each = 40
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	start := time.Now().Add(-span - 30*time.Minute).Truncate(time.Minute)
	oracle := startNode(t)
	nodes, seeds := startCluster(t, 3, "--memtable-size=1MB")
	p := newPoser(seed, start, span)
	sensors, samples := p.fill(t, []*node{oracle, nodes[1], nodes[2]}, []*node{oracle, nodes[0]})
	tr := startTraffic(t, nodes[:1], 2_000, 50*time.Millisecond, nodes[0].url)
	x := &examiner{oracle: oracle}
	x.among(nodes...)
	x.start(t, func(i int) poser { return newPoser(seed+1+uint64(i), start, span) })
	defer func() {
		if x.ended != nil {
			x.stop()
		}
	}()

	began := time.Now()
	step := func(name string, change func()) {
		t.Helper()
		asked, gone, unavailable := x.asked.Load(), x.gone.Load(), x.unavailable.Load()
		change()
		x.untilAsked(t, each)
		t.Logf("%s: %d questions, put again %d times for a node that was gone and %d times for a 503", name, x.asked.Load()-asked, x.gone.Load()-gone, x.unavailable.Load()-unavailable)
	}
	step("nothing happens", func() {})
	step("a fourth node joins", func() {
		fourth, _ := newMember(t, "n4", seeds, "--memtable-size=1MB")
		fourth.start(t)
		nodes = append(nodes, fourth)
		x.among(nodes...)
		untilActive(t, nodes, 4)
	})
	for _, i := range []int{1, 3} {
		step(fmt.Sprintf("n%d is killed and started again", i+1), func() {
			nodes[i].Kill(t)
			x.untilAsked(t, each/2)
			nodes[i].start(t)
			untilActive(t, nodes, 4)
		})
	}
	step("n2 leaves", func() {
		postCluster(t, nodes[2], "leave", "n2")
		untilState(t, nodes[0], "n2", "gone")
		x.untilAsked(t, each/2)
		nodes = slices.Delete(slices.Clone(nodes), 1, 2)
		x.among(nodes...)
		untilActive(t, nodes, 3)
	})
	step("n3 is lost and replaced", func() {
		nodes[1].Kill(t)
		x.among(nodes[0], nodes[2])
		untilDown(t, nodes[0], "n3")
		untilDown(t, nodes[2], "n3")
		fifth, _ := newMember(t, "n5", seeds, "--memtable-size=1MB", "--replaces=n3")
		fifth.start(t)
		nodes[1] = fifth
		x.among(nodes...)
		untilActive(t, nodes, 3)
	})
	x.stop()
	x.ended = nil
	asked, unavailable := x.asked.Load(), x.unavailable.Load()
	t.Logf("%d questions about %d series with %d samples in %v; put again %d times for a node that was gone and %d times for a 503", asked, sensors, samples,
		time.Since(began).Round(time.Second), x.gone.Load(), unavailable)
	if most := asked/100 + 50; unavailable > most {
		t.Errorf("the cluster could not answer %d times, more than %d", unavailable, most)
	}
	tr.check(t, nodes)
}
