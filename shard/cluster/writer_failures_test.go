package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

var writeSeed = flag.Uint64("write-seed", 0, "replay one seed of the property test of writes; 0: many")

// A trial is one batch that is written while some nodes fail.
type trial struct {
	w      *writeWorld
	down   []int
	broken []int            // answer 503; the first node's own storage fails
	full   map[string][]int // key → nodes that reject the series
	keys   map[int]string   // canonical, of the series of the batch
	want   map[int][]string // what each has
	bad    map[int]bool     // no node can store it
	need   func(n int) int
}

// expect says what must come of series i: an error of the whole batch, a rejection, or that it is stored.
func (x *trial) expect(i int) (unavailable, rejected bool) {
	v := x.w.nodes[0].View()
	p := shard.PartitionOfKey([]byte(x.keys[i]), "device_id")
	for _, list := range [][]uint8{v.Ring.Owners(p), v.Ring.Next(p)} {
		failed, refused := 0, 0
		for _, n := range list {
			switch {
			case x.fails(int(n)):
				failed++
			case x.bad[i] || slices.Contains(x.full[x.keys[i]], int(n)):
				refused++
			}
		}
		need := x.need(len(list))
		unavailable = unavailable || len(list)-failed < need
		rejected = rejected || len(list)-failed-refused < need
	}
	return unavailable, rejected
}

func (x *trial) fails(n int) bool {
	return slices.Contains(x.broken, n) || n > 0 && slices.Contains(x.down, n)
}

// Random batches, rings in the middle of changes, and nodes that are down, fail, or are full. What Append says is what must be, by the rule
// that doc.go states; what it acknowledged is on as many nodes as it says, and, after the hints, on all that can have it.
func TestWritesAmongFailures(t *testing.T) {
	seeds := []uint64{*writeSeed}
	if *writeSeed == 0 {
		seeds = nil
		for s := range uint64(150) {
			seeds = append(seeds, s+1)
		}
	}
	outcomes := map[string]int{}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { writeAmongFailures(t, seed, outcomes) })
	}
	if *writeSeed == 0 && (outcomes["stored"] < 100 || outcomes["unavailable"] < 50 || outcomes["rejected"] < 20 || outcomes["by id"] < 500 || outcomes["unknown"] < 50 || outcomes["kept"] < 20 || outcomes["stored beside unavailable"] < 10) {
		t.Errorf("the test tests too little: %v", outcomes)
	}
}

func writeAmongFailures(t *testing.T, seed uint64, outcomes map[string]int) {
	r := rand.New(rand.NewPCG(seed, 9))
	n := 2 + r.IntN(5)
	w := newWriteWorld(t, n, 1, WriterOptions{Consistency: Consistency(r.IntN(3)), MaxQueued: 1 << 30})
	sent := map[string]map[string]bool{}
	for round := range 4 {
		x := newTrial(t, r, w)
		b := x.batch(r, round*1000)
		note := func(key string, all []string) {
			for _, s := range all {
				if sent[key] == nil {
					sent[key] = map[string]bool{}
				}
				sent[key][s] = true
			}
		}
		for i, all := range x.want {
			note(x.keys[i], all)
		}
		x.acquaint(t, r, note)
		l := &lender{refuse: r.IntN(4) == 0}
		var waiters []*waiter
		var gives []func()
		for _, part := range inParts(r, b) {
			give := func() { scribble(part) }
			if r.IntN(3) > 0 {
				give = l.lend(part)
			}
			gives = append(gives, give)
			waiters = append(waiters, waiterOf(t.Context(), part))
		}
		w.writer.appendAll(waiters)
		var failed []int // series of parts that are not acknowledged
		first := 0
		for _, p := range waiters {
			if x.check(t, p.batch, first, p.err, outcomes); p.err != nil {
				for i := range p.batch.Series {
					failed = append(failed, first+i)
				}
			}
			first += len(p.batch.Series)
		}
		if len(failed) > 0 && len(failed) < first {
			outcomes["stored beside unavailable"]++
		}
		nothing := !slices.ContainsFunc(waiters, func(p *waiter) bool { return p.err == nil })
		for _, give := range gives {
			give()
		}
		w.settle()
		if l.kept.Load() != l.back.Load() {
			t.Fatalf("the batch is kept %d times and given back %d times", l.kept.Load(), l.back.Load())
		}
		outcomes["kept"] += int(l.kept.Load())
		x.heal(t, failed, nothing)
	}
	for i, node := range w.nodes {
		outcomes["by id"] += node.memory.briefs
		outcomes["unknown"] += int(testutil.ToFloat64(w.writer.m.unknown.WithLabelValues(w.nodes[0].View().Members[i].Name)))
		for key, all := range node.memory.samples {
			for s := range all {
				if !sent[key][s] {
					t.Errorf("%q has %s, which nobody sent", key, s)
				}
			}
		}
	}
}

// inParts cuts a batch into some, each with its own memory, or leaves it as it is.
func inParts(r *rand.Rand, b *series.Batch) (parts []*series.Batch) {
	if r.IntN(2) == 0 {
		return []*series.Batch{b}
	}
	for from, metadata := 0, b.Metadata; from < len(b.Series) || len(parts) == 0; metadata = nil {
		to := min(len(b.Series), from+1+r.IntN(12))
		part := &series.Batch{Metadata: metadata}
		for i := from; i < to; i++ {
			e := b.Series[i]
			part.Series = append(part.Series, series.Entry{Key: slices.Clone(e.Key), First: len(part.Samples), Count: e.Count})
			part.Samples = append(part.Samples, b.Samples[e.First:e.First+e.Count]...)
			for _, h := range run(b.Histograms, i, func(h *series.Histogram) int { return h.Series }) {
				h.Series = i - from
				part.Histograms = append(part.Histograms, h)
			}
			for _, e := range run(b.Exemplars, i, func(x *series.Exemplar) int { return x.Series }) {
				e.Series = i - from
				part.Exemplars = append(part.Exemplars, e)
			}
		}
		parts = append(parts, part)
		from = to
	}
	return parts
}

// newTrial decides which nodes do what, and gives all of them a new ring.
func newTrial(t *testing.T, r *rand.Rand, w *writeWorld) *trial {
	x := &trial{w: w, full: map[string][]int{}, keys: map[int]string{}, want: map[int][]string{}, bad: map[int]bool{}, need: w.writer.Consistency().Acks}
	states := make([]shard.State, len(w.nodes))
	for i := range states {
		if states[i] = shard.Active; i > 0 && r.IntN(8) == 0 {
			states[i] = []shard.State{shard.Joining, shard.Leaving}[r.IntN(2)]
		}
	}
	for i := range w.nodes {
		switch r.IntN(10) {
		case 0:
			x.down = append(x.down, i)
		case 1:
			x.broken = append(x.broken, i)
		}
	}
	w.ring(t, 1+r.IntN(3), states, x.down)
	for i, node := range w.nodes {
		code := []int{503, 500, 429, 200}[r.IntN(4)] // 200 without an answer in it is no acknowledgement
		node.before, node.memory.fail = nil, nil
		if slices.Contains(x.broken, i) {
			node.before = refuse(code)
			node.memory.fail = func() error { return errDisk }
		}
		node.memory.reject = func(key string) string {
			if slices.Contains(x.full[key], i) {
				return "max_series"
			}
			return ""
		}
	}
	return x
}

// acquaint writes something of most series before anything fails, so that nodes know them; some nodes forget some, or are of a version that
// does not take ids.
func (x *trial) acquaint(t *testing.T, r *rand.Rand, note func(key string, all []string)) {
	t.Helper()
	failing := make([]writeNode, len(x.w.nodes))
	for i, node := range x.w.nodes {
		failing[i].before, failing[i].memory.fail, failing[i].memory.reject = node.before, node.memory.fail, node.memory.reject
		node.before, node.memory.fail, node.memory.reject = nil, nil, nil
		node.old = r.IntN(8) == 0
	}
	view := x.w.nodes[0].View()
	healthy := *view
	healthy.Members = slices.Clone(view.Members)
	for i := range healthy.Members {
		healthy.Members[i].Up = true
	}
	x.w.nodes[0].p.Store(&healthy)
	b := &series.Batch{}
	for i := range len(x.keys) {
		if x.bad[i] || r.IntN(4) == 0 {
			continue
		}
		b.Series = append(b.Series, series.Entry{Key: []byte(x.keys[i]), First: len(b.Samples), Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: randomTime(r), V: randomValue(r)})
		note(x.keys[i], contents(b, len(b.Series)-1))
	}
	if err := x.w.writer.Append(context.Background(), b); err != nil || b.Rejected.Any() {
		t.Fatalf("before anything fails: %v, rejected %v", err, b.Rejected)
	}
	x.w.settle()
	for i, node := range x.w.nodes {
		for _, key := range x.keys {
			if r.IntN(20) == 0 || slices.Contains(x.full[key], i) { // who knows a series does not reject it
				delete(node.memory.keys, series.HashKey([]byte(key)))
			}
		}
		node.old = node.old || r.IntN(8) == 0
		node.before, node.memory.fail, node.memory.reject = failing[i].before, failing[i].memory.fail, failing[i].memory.reject
	}
	x.w.nodes[0].p.Store(view)
}

// batch makes what is written: also series of sloppy senders, and such as cannot be stored anywhere.
func (x *trial) batch(r *rand.Rand, from int) *series.Batch {
	b := randomBatch(r, r.IntN(30), from)
	for i := range b.Series {
		e := &b.Series[i]
		x.want[i] = contents(b, i)
		switch r.IntN(12) {
		case 0:
			x.keys[i] = string(e.Key)
			e.Key = loosen(r, e.Key)
			continue
		case 1:
			e.Key = series.AppendLabel(nil, "no_name", fmt.Sprint(from+i))
			x.bad[i] = true
		case 2:
			e.Key = []byte("no frames at all")
			x.bad[i] = true
		case 3:
			x.full[string(e.Key)] = r.Perm(len(x.w.nodes))[:1+r.IntN(2)]
		}
		x.keys[i] = string(e.Key)
	}
	return b
}

// check compares what Append said of a batch, whose first series has some number, with what must be.
func (x *trial) check(t *testing.T, b *series.Batch, first int, err error, outcomes map[string]int) {
	t.Helper()
	unavailable, samples := false, 0
	for i := first; i < first+len(b.Series); i++ {
		if len(x.want[i]) > 0 && x.keys[i] != "no frames at all" {
			u, _ := x.expect(i)
			unavailable = unavailable || u
		}
	}
	if (err != nil) != (unavailable || x.onlyMetadataFails(b, first)) || err != nil && !errors.Is(err, series.ErrUnavailable) {
		t.Fatalf("error %v, want one: %v; down %v, broken %v", err, unavailable, x.down, x.broken)
	}
	if err != nil {
		outcomes["unavailable"]++
		return
	}
	for j, e := range b.Series {
		i := first + j
		if len(x.want[i]) == 0 {
			continue
		}
		_, rejected := x.expect(i)
		if rejected = rejected || x.bad[i]; e.Bad != rejected {
			t.Fatalf("series %d, %q: rejected %v, want %v; full %v, down %v, broken %v", i, x.keys[i], e.Bad, rejected, x.full[x.keys[i]], x.down, x.broken)
		}
		if e.Bad {
			outcomes["rejected"]++
			samples += e.Count
			continue
		}
		outcomes["stored"]++
		x.stored(t, i)
	}
	if b.Rejected.Samples != samples {
		t.Fatalf("%d samples are counted as rejected, want %d", b.Rejected.Samples, samples)
	}
}

// onlyMetadataFails: there is nothing but metadata, and this node cannot store it.
func (x *trial) onlyMetadataFails(b *series.Batch, first int) bool {
	for i := first; i < first+len(b.Series); i++ {
		if len(x.want[i]) > 0 && x.keys[i] != "no frames at all" {
			return false
		}
	}
	return len(b.Metadata) > 0 && slices.Contains(x.broken, 0)
}

// stored makes sure that enough nodes have a series at this moment.
func (x *trial) stored(t *testing.T, i int) {
	t.Helper()
	v := x.w.nodes[0].View()
	p := shard.PartitionOfKey([]byte(x.keys[i]), "device_id")
	for _, list := range [][]uint8{v.Ring.Owners(p), v.Ring.Next(p)} {
		have := 0
		for _, n := range list {
			if x.w.nodes[n].memory.has(x.keys[i], x.want[i]) {
				have++
			}
		}
		if have < x.need(len(list)) {
			t.Fatalf("series %d was acknowledged, and %d of %v have it", i, have, list)
		}
	}
}

// heal brings all nodes back and replays the hints: then everybody has what was acknowledged, but for what it rejects, and for
// this node's own failures, which comparing digests repairs. When nothing was acknowledged there are no hints.
func (x *trial) heal(t *testing.T, failed []int, nothing bool) {
	t.Helper()
	if nothing && len(x.w.hints.Peers()) > 0 {
		t.Fatal("a write that its sender will repeat has left hints")
	}
	for _, node := range x.w.nodes {
		node.before, node.memory.fail = nil, nil
	}
	v := *x.w.nodes[0].View()
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		v.Members[i].Up = true
	}
	x.w.nodes[0].p.Store(&v)
	for _, id := range x.w.hints.Peers() {
		x.w.writer.replay(context.Background(), id)
	}
	if left := x.w.hints.Peers(); len(left) > 0 {
		t.Fatalf("hints of %v remain", left)
	}
	for i, all := range x.want {
		_, rejected := x.expect(i)
		if slices.Contains(failed, i) || rejected || x.bad[i] || len(all) == 0 {
			continue
		}
		for _, n := range v.Ring.Writers(shard.PartitionOfKey([]byte(x.keys[i]), "device_id")) {
			own := n == 0 && slices.Contains(x.broken, 0)
			if !own && !slices.Contains(x.full[x.keys[i]], int(n)) && !x.w.nodes[n].memory.has(x.keys[i], all) {
				t.Fatalf("node %d has not got series %d", n, i)
			}
		}
	}
}

// scribble overwrites the batch as its owner may.
func scribble(b *series.Batch) {
	for i := range b.Series {
		for j := range b.Series[i].Key {
			b.Series[i].Key[j] = 0xee
		}
		b.Series[i] = series.Entry{}
	}
	for i := range b.Samples {
		b.Samples[i] = series.Sample{T: -1, V: -1}
	}
	for i := range b.Histograms {
		b.Histograms[i] = series.Histogram{}
	}
	for i := range b.Exemplars {
		b.Exemplars[i] = series.Exemplar{}
	}
}
