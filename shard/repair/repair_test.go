package repair

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// trio is some nodes that talk by calls and count what they say.
type trio struct {
	t        *testing.T
	clock    int64
	nodes    []*peerNode
	said     int                 // bytes of questions and answers
	fetched  int                 // bytes of samples and labels
	samples  int                 // that were fetched
	between  func(*series.Batch) // called before each batch is stored
	asked    func(*peerNode)     // called with who asks, after each answer
	replicas int
}

type peerNode struct {
	*trio
	i     int
	store *memory
	rep   *Repairer
	view  *shard.View
	o     Options
	ended string // what it did at the end of a change
}

const start = 1_700_000_000_000 / shard.WindowMillis * shard.WindowMillis // ms

func newTrio(t *testing.T, replicas int, states ...shard.State) *trio {
	c := &trio{t: t, clock: start + shard.WindowMillis, replicas: replicas}
	for i := range states {
		n := &peerNode{trio: c, i: i, store: newMemory()}
		n.o = Options{Now: func() time.Time { return time.UnixMilli(c.clock) }}
		c.nodes = append(c.nodes, n)
	}
	c.ring(states...)
	for _, n := range c.nodes {
		n.boot()
	}
	return c
}

func (n *peerNode) boot() {
	n.rep = New(n.store, n, n, n, n.o)
	n.rep.wait = func(context.Context, time.Duration) error { return nil }
}

func name(i int) string { return fmt.Sprint("n", i) }

// ring makes a ring in which all are up.
func (c *trio) ring(states ...shard.State) {
	var nodes []shard.Node
	for i, s := range states {
		nodes = append(nodes, shard.Node{ID: name(i), State: s, Since: int64(i)})
	}
	r, err := shard.NewRing(nodes, c.replicas)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, n := range c.nodes {
		n.view = &shard.View{Ring: r, Self: r.Index(name(i))}
		for _, x := range r.Nodes() {
			n.view.Members = append(n.view.Members, shard.Member{Node: x, Name: x.ID, Up: true})
		}
		if n.rep != nil {
			n.rep.Notify()
		}
	}
}

func (n *peerNode) View() *shard.View { return n.view }
func (n *peerNode) Activate(_ context.Context, epoch uint64) error {
	return n.end("active", epoch)
}
func (n *peerNode) Left(_ context.Context, epoch uint64) error {
	return n.end("left", epoch)
}
func (n *peerNode) end(how string, epoch uint64) error {
	if epoch != n.view.Ring.Epoch() {
		return errors.New("the ring has changed")
	}
	n.ended = how
	return nil
}

func (n *peerNode) of(id string) *peerNode {
	for _, p := range n.nodes {
		if name(p.i) == id {
			return p
		}
	}
	return nil
}

func (n *peerNode) Ask(ctx context.Context, m shard.Member, q Question) (*Answer, error) {
	a, err := n.of(m.ID).rep.Answer(ctx, q)
	if err != nil {
		return nil, err
	}
	if n.asked != nil {
		n.asked(n)
	}
	b := a.AppendTo(nil)
	n.said += len(b) + len(q.AppendTo(nil))
	return AnswerFromBytes(b, q)
}

func (n *peerNode) Fetch(_ context.Context, m shard.Member, parts *shard.Set, ids []series.ID, mint, maxt int64, each func(*series.Batch) error) error {
	return n.of(m.ID).store.read(parts, ids, mint, maxt, 1000, func(b *series.Batch) error {
		samples, bytes := weigh(b)
		n.samples += samples
		n.fetched += bytes
		if n.between != nil {
			n.between(b)
		}
		return each(b)
	})
}

func (n *peerNode) round(other int) error {
	return n.rep.Round(context.Background(), n.view.Members[other])
}

func (n *peerNode) mustRound(other int) {
	n.t.Helper()
	if err := n.round(other); err != nil {
		n.t.Fatal(err)
	}
}

func (c *trio) pass(d time.Duration) { c.clock += d.Milliseconds() }

func sensors(n int) (out []*entry) {
	for i := range n {
		out = append(out, newEntry(labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprintf("device-%06d", i), "site", "a")))
	}
	return out
}

// fill gives nodes a sample of each sensor every 15 s in [mint, maxt).
func (c *trio) fill(es []*entry, mint, maxt int64, nodes ...int) {
	for _, e := range es {
		for t := mint; t < maxt; t += 15_000 {
			for _, i := range nodes {
				c.nodes[i].store.put(e, t, float64(t%977))
			}
		}
	}
}

func (c *trio) equal(es []*entry, nodes ...int) error {
	for _, e := range es {
		for _, i := range nodes[1:] {
			if c.nodes[i].store.digestOf(e.partition) != c.nodes[nodes[0]].store.digestOf(e.partition) {
				return fmt.Errorf("n%d and n%d differ in partition %d", nodes[0], i, e.partition)
			}
		}
	}
	return nil
}

func (c *trio) mustEqual(es []*entry, nodes ...int) {
	c.t.Helper()
	if err := c.equal(es, nodes...); err != nil {
		c.t.Error(err)
	}
}

// Reading for pieces rests half of the time.
func TestPiecesRest(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Active)
	c.fill(sensors(20), start, start+shard.WindowMillis/8, 0)
	rep := c.nodes[0].rep
	now, rests := time.UnixMilli(c.clock), 0
	rep.o.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
	rep.wait = func(_ context.Context, d time.Duration) error {
		if rests++; d != time.Millisecond {
			t.Errorf("after a millisecond of work it rests for %v", d)
		}
		return nil
	}
	a, err := rep.Answer(t.Context(), Question{Kind: Pieces, Parts: shard.All(), Mint: start, Cut: start, Maxt: start + shard.WindowMillis})
	if err != nil || len(a.Pieces) != maxPieces || a.Pieces[0].Samples != 40 {
		t.Fatalf("%v, %v", a, err)
	}
	if rests != 19 {
		t.Errorf("it has rested %d times", rests)
	}
}

func TestOutageCostsWhatIsMissing(t *testing.T) {
	rows := []struct {
		name         string
		sensors      int
		lost, window int64 // ms: how long the outage was, and when it began
	}{
		{"five minutes of few", 300, 5 * 60_000, start + 40*60_000 + 7_000},
		{"five minutes of many", 2000, 5 * 60_000, start + 40*60_000 + 7_000},
		{"a whole window", 300, shard.WindowMillis, start},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
			c.pass(3 * time.Hour)
			es := sensors(r.sensors)
			c.fill(es, start, r.window, 0, 1)
			c.fill(es, r.window, r.window+r.lost, 0)
			c.fill(es, r.window+r.lost+15_000-r.lost%15_000, start+shard.WindowMillis, 0, 1)
			c.nodes[1].mustRound(0)
			c.mustEqual(es, 0, 1)
			const packed = 3 // bytes of a sample in a chunk on its way
			missing := r.sensors * (int(r.lost/15_000)*packed + len(es[0].key))
			samples := c.fetched - c.samples*(16-packed)
			t.Logf("missing %d bytes, questions and answers %d, samples and labels %d", missing, c.said, samples)
			if c.said+samples > missing*3/2 {
				t.Errorf("%d bytes were exchanged for %d that were missing", c.said+samples, missing)
			}
			said := c.said
			c.nodes[0].mustRound(1) // which has nothing new
			if c.nodes[0].trio.said-said > 1000 {
				t.Errorf("%d bytes to find that two are equal", c.said-said)
			}
		})
	}
}

func TestEqualNodesSayLittle(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	es := sensors(100)
	c.fill(es, start, start+shard.WindowMillis+60_000, 0, 1, 2)
	c.nodes[0].mustRound(1)
	const headers = 700 // of a request and its answer, generously
	// Each of two peers asks once in 10 s, and is asked as often.
	if perSecond := 4 * (c.said + headers) / 10; perSecond > 10<<10 {
		t.Errorf("%d bytes a second", perSecond)
	}
	t.Logf("%d bytes without headers", c.said)
}

func TestLostSeriesAreFetchedAlone(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(3 * time.Hour)
	es := sensors(2000)
	c.fill(es[:1990], start, start+shard.WindowMillis, 0, 1)
	c.fill(es[1990:], start, start+shard.WindowMillis, 0)
	c.nodes[1].store.remove(es[3].id, start+30*60_000, start+31*60_000)
	c.nodes[1].mustRound(0)
	c.mustEqual(es, 0, 1)
	if want := 11 * 480; c.samples > want {
		t.Errorf("%d samples were fetched, of 10 series with 480 and a minute of another", c.samples)
	}
}

// Under load the newest window never agrees. What is missing in it is found all the same, and what is on its way is left alone.
func TestRepairUnderLoad(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	es := sensors(50)
	from := c.clock - 20*60_000
	c.fill(es, from, c.clock, 0, 1)
	for _, e := range es[:5] {
		c.nodes[1].store.remove(e.id, from+60_000, from+120_000)
	}
	load := func() {
		for i, e := range es {
			c.nodes[0].store.put(e, c.clock+int64(i), 1)
			c.nodes[1].store.put(e, c.clock+int64(i)-2500, 1) // it is behind
		}
		c.pass(2500 * time.Millisecond)
	}
	for range 12 {
		load()
		c.nodes[1].mustRound(0)
	}
	for _, e := range es {
		if !c.nodes[1].store.has(e, from+90_000) {
			t.Fatalf("%v still lacks the past", e.labels)
		}
	}
	looked := c.samples
	if looked > 5*20*4 {
		t.Errorf("%d samples were fetched, missing were %d", looked, 5*5)
	}
	for range 40 {
		load()
		c.nodes[1].mustRound(0)
	}
	if c.samples != looked {
		t.Errorf("%d samples were fetched that were on their way", c.samples-looked)
	}
}

func TestDeleteDuringARound(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(3 * time.Hour)
	es := sensors(1)
	c.fill(es, start, start+60_000, 0)
	var applied series.Digest
	b := c.nodes[1]
	b.o.Deletes = func() series.Digest { return applied }
	b.boot()
	c.between = func(*series.Batch) {
		err := b.rep.Delete(func() error {
			b.store.remove(es[0].id, start, start+60_000)
			applied = series.Digest{Lo: 1}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		c.between = nil
	}
	if err := b.round(0); !errors.Is(err, errDeletes) {
		t.Errorf("the round ended with %v", err)
	}
	if b.store.has(es[0], start) {
		t.Error("a sample came back after it was deleted")
	}
	if err := b.round(0); !errors.Is(err, errDeletes) {
		t.Errorf("nodes that have applied different deletes were compared: %v", err)
	}
	c.nodes[0].store.remove(es[0].id, start, start+60_000)
	c.nodes[0].o.Deletes = b.o.Deletes
	c.nodes[0].boot()
	b.mustRound(0)
}

func TestLostAgain(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(3 * time.Hour)
	es := sensors(10)
	c.fill(es, start, start+60_000, 0, 1)
	c.fill(es[:1], start+60_000, start+120_000, 1) // n0 has not taken that yet
	c.nodes[1].mustRound(0)
	said := c.said
	c.nodes[1].mustRound(0)
	if c.said-said > 500 {
		t.Errorf("it looked again into what it had taken, in %d bytes", c.said-said)
	}
	c.nodes[1].store.remove(es[5].id, start, start+60_000) // as when a block is damaged
	c.nodes[1].rep.forget()
	c.nodes[1].mustRound(0)
	if !c.nodes[1].store.has(es[5], start) {
		t.Error("what was lost afterwards is not taken again")
	}
}

func TestRetentionIsNotRepaired(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(10 * time.Hour)
	es := sensors(3)
	c.fill(es, start, start+4*shard.WindowMillis, 0)
	oldest := int64(start + shard.WindowMillis + 1)
	c.nodes[0].o.Oldest = func() int64 { return oldest } // it is the peer that says so
	c.nodes[0].boot()
	c.nodes[1].mustRound(0)
	if c.nodes[1].store.has(es[0], start) || c.nodes[1].store.has(es[0], start+shard.WindowMillis) {
		t.Error("it took what its peer has begun to drop")
	}
	if !c.nodes[1].store.has(es[0], start+2*shard.WindowMillis) {
		t.Error("it did not take what is newer")
	}
}

func TestHintsComeFirst(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(3 * time.Hour)
	es := sensors(3)
	c.fill(es, start, start+60_000, 0)
	c.nodes[2].o.Hints = func(id string) bool { return id == "n1" }
	c.nodes[2].boot()
	c.nodes[1].mustRound(0)
	if c.samples > 0 {
		t.Error("it took what hints of another node will bring")
	}
	for range 13 { // the hints do not end
		c.pass(5 * time.Second)
		c.nodes[1].mustRound(0)
	}
	c.mustEqual(es, 0, 1)
}

func TestReadRepair(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	c.pass(3 * time.Hour)
	es := sensors(3)
	c.fill(es, start, start+60_000, 0, 2)
	parts := &shard.Set{}
	parts.Add(es[0].partition)
	c.nodes[1].rep.Repair(parts, start+30_000)
	c.nodes[1].rep.drain(context.Background())
	if !c.nodes[1].store.has(es[0], start) || c.nodes[1].store.has(es[1], start) {
		t.Error("want what was asked for, and nothing else")
	}
	if c.nodes[1].rep.Repair(parts, start); len(c.nodes[1].rep.queue.windows) > 0 {
		t.Error("what was compared a moment ago waits again")
	}
	for i := range 2 * maxWindows {
		c.nodes[1].rep.Repair(parts, start+int64(i+1)*shard.WindowMillis)
	}
	if n := len(c.nodes[1].rep.queue.windows); n > maxWindows {
		t.Errorf("%d windows wait", n)
	}
}

// steps lets all nodes do what they can, and some time pass.
func (c *trio) steps(n int) (last []error) {
	for range n {
		last = last[:0]
		for _, n := range c.nodes {
			last = append(last, n.rep.Step(context.Background()))
		}
		c.pass(5 * time.Second)
	}
	return last
}

func TestJoin(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Active, shard.Joining)
	es := sensors(300)
	c.fill(es, start, start+shard.WindowMillis, 0, 1)
	j := c.nodes[2]
	gains := j.view.Ring.Copying(2)
	var mine []*entry
	for _, e := range es {
		if gains.Has(e.partition) {
			mine = append(mine, e)
		}
	}
	c.steps(1)
	if j.ended != "" {
		t.Error("it is active before the writes by the old ring are over")
	}
	if p := j.rep.Progress(); p.Done != p.Total || p.Total != gains.Len() || p.Complete || p.Change != "joining" || p.WaitingFor == "" {
		t.Errorf("progress %+v", p)
	}
	late := int64(start + shard.WindowMillis/2 + 1) // a write by the old ring, which both owners have acknowledged
	c.nodes[0].store.put(mine[0], late, 1)
	c.nodes[1].store.put(mine[0], late, 1)
	c.steps(3)
	if j.ended != "active" || !j.rep.Progress().Complete {
		t.Errorf("it is not active: %+v", j.rep.Progress())
	}
	if !j.store.has(mine[0], late) {
		t.Error("it lacks what was written while it copied")
	}
	for _, e := range mine {
		if !j.store.has(e, start) {
			t.Fatalf("it lacks %v", e.labels)
		}
	}
	if want := len(mine) * 480; c.samples > want+100 {
		t.Errorf("%d samples were fetched, of %d", c.samples, want)
	}
}

// An owner that has been alone deletes and tells nobody as long as it does not know that others come: until then nothing is copied.
func TestJoinCopiesWhenItIsKnown(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Joining)
	es := sensors(3)
	c.fill(es, start, start+shard.WindowMillis, 0)
	first := c.nodes[0].view
	alone, err := shard.NewRing([]shard.Node{{ID: name(0), State: shard.Active}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[0].view = &shard.View{Ring: alone, Members: first.Members[:1]}
	c.steps(2)
	c.nodes[0].store.remove(es[0].id, start, start+shard.WindowMillis)
	c.nodes[0].view = first
	c.steps(5)
	if j := c.nodes[1]; j.ended != "active" || j.store.has(es[0], start) || !j.store.has(es[1], start) {
		t.Errorf("it is %q, has what was deleted: %v, and what was not: %v", j.ended, j.store.has(es[0], start), j.store.has(es[1], start))
	}
}

func TestJoinWaitsForAQuorum(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active, shard.Joining)
	for _, i := range []int{0, 1} {
		c.nodes[3].view.Members[i].Up = false
	}
	c.steps(5)
	if c.nodes[3].ended != "" {
		t.Error("it is active and has copied from one owner of three")
	}
	if p := c.nodes[3].rep.Progress(); !strings.Contains(p.WaitingFor, "n0") || !strings.Contains(p.WaitingFor, "n1") {
		t.Errorf("it does not say whom it waits for: %s", p.WaitingFor)
	}
	c.nodes[3].view.Members[0].Up = true
	c.steps(5)
	if c.nodes[3].ended != "active" {
		t.Errorf("with two of three it waits for %s", c.nodes[3].rep.Progress().WaitingFor)
	}
}

func TestOldOwnerKeepsUntilOthersHave(t *testing.T) {
	c := newTrio(t, 1, shard.Active, shard.Active, shard.Active)
	es := sensors(30)
	r := c.nodes[0].view.Ring
	for _, e := range es { // everything is with n0, whoever owns it
		c.fill([]*entry{e}, start, start+60_000, 0)
	}
	c.nodes[0].view.Members[2].Up = false
	c.steps(4)
	for _, e := range es {
		owner := int(r.Owners(e.partition)[0])
		has := c.nodes[owner].store.has(e, start)
		dropped := c.nodes[0].store.own != nil && !c.nodes[0].store.own.Has(e.partition)
		if want := owner != 2; has != want {
			t.Errorf("n%d has %v: %t", owner, e.labels, has)
		}
		if want := owner == 1; dropped != want {
			t.Errorf("n0 may drop %v of n%d: %t", e.labels, owner, dropped)
		}
	}
	c.nodes[0].view.Members[2].Up = true
	c.steps(4)
	c.nodes[0].store.compact()
	for _, e := range es {
		owner := int(r.Owners(e.partition)[0])
		for i, n := range c.nodes {
			if n.store.has(e, start) != (i == owner) {
				t.Errorf("n%d of owner n%d has %v: %t", i, owner, e.labels, i != owner)
			}
		}
	}
	c.ring(shard.Active, shard.Leaving, shard.Active) // what n1 has will be the others'
	if own := c.nodes[0].store.own; own == nil || func() bool {
		gains := c.nodes[0].view.Ring.Written(0)
		gains.Minus(own)
		return gains.Len() > 0
	}() {
		t.Error("n0 may drop what it will own")
	}
}

func TestLeave(t *testing.T) {
	c := newTrio(t, 2, shard.Active, shard.Active, shard.Leaving)
	es := sensors(50)
	r := c.nodes[0].view.Ring
	for _, e := range es {
		for _, i := range r.Owners(e.partition) {
			c.fill([]*entry{e}, start, start+60_000, int(i))
		}
	}
	// What only the leaving node has was not acknowledged by a quorum, but there is no reason to lose it.
	for _, e := range es {
		if r.Owned(2).Has(e.partition) {
			c.nodes[2].store.put(e, start+1, 1)
		}
	}
	c.steps(8)
	if c.nodes[2].ended != "left" {
		t.Fatalf("it has not left: %+v", c.nodes[2].rep.Progress())
	}
	c.mustEqual(es, 0, 1)
	for _, e := range es {
		if r.Owned(2).Has(e.partition) && !c.nodes[0].store.has(e, start+1) {
			t.Errorf("%v is lost", e.labels)
		}
	}
}

func TestTheLastDoesNotLeave(t *testing.T) {
	c := newTrio(t, 2, shard.Leaving)
	errs := c.steps(5)
	if c.nodes[0].ended != "" || errs[0] == nil {
		t.Errorf("the only node has %s: %v", c.nodes[0].ended, errs[0])
	}
}

// What was copied for one ring says nothing of the next one, whenever that comes.
func TestTheRingChangesBeforeTheEnd(t *testing.T) {
	for _, state := range []shard.State{shard.Joining, shard.Leaving} {
		for k := 1; ; k++ {
			c := newTrio(t, 1, shard.Active, shard.Active, state, shard.Active)
			n := c.nodes[2]
			es := sensors(20)
			holders := []int{0, 1, 3}
			if state == shard.Leaving {
				holders = []int{2}
			}
			c.fill(es, start, start+60_000, holders...)
			asks, before := 0, n.view.Ring.Owned(2)
			c.asked = func(who *peerNode) {
				if who == n {
					if asks++; asks == k {
						c.ring(shard.Active, shard.Active, state) // n3 is removed
					}
				}
			}
			for i := 0; n.ended == ""; i++ {
				if i == 20 {
					t.Fatalf("%v, another ring at question %d: it waits for %s", state, k, n.rep.Progress().WaitingFor)
				}
				c.steps(1)
			}
			for _, e := range es {
				if state == shard.Joining && n.view.Ring.Copying(2).Has(e.partition) && !n.store.has(e, start) {
					t.Fatalf("another ring at question %d: it is active and lacks %v", k, e.labels)
				}
				if state == shard.Leaving && before.Has(e.partition) && asks >= k && !c.nodes[0].store.has(e, start) && !c.nodes[1].store.has(e, start) {
					t.Fatalf("another ring at question %d: it has left and nobody has %v", k, e.labels)
				}
			}
			if asks < k {
				break
			}
		}
	}
}

// Where writes are with more owners than before, each owner takes once what those before have left to others.
func TestLevel(t *testing.T) {
	c := newTrio(t, 3, shard.Active, shard.Active, shard.Active)
	es := sensors(30)
	c.fill(es, start, start+60_000, 0, 1) // acknowledged by two of three
	decision := ""
	levelled := map[int]string{}
	for _, n := range c.nodes {
		n.o.Raised = func() string { return decision }
		n.o.Levelled = func(_ context.Context, d string) error {
			levelled[n.i] = d
			return nil
		}
		n.boot()
	}
	c.steps(3)
	if len(levelled) > 0 {
		t.Errorf("without a decision %v have levelled", levelled)
	}
	decision = "a"
	c.steps(1)
	if len(levelled) > 0 {
		t.Errorf("while writes may be on their way %v have levelled", levelled)
	}
	late := int64(start + shard.WindowMillis - 1)
	c.nodes[0].store.put(es[0], late, 1)
	c.nodes[1].store.put(es[0], late, 1)
	n := c.nodes[2]
	n.view.Members[0].Up, n.view.Members[1].Up = false, false
	c.steps(2)
	if levelled[2] != "" || levelled[0] != "a" {
		t.Errorf("%v have levelled, n2 reaches nobody", levelled)
	}
	n.view.Members[1].Up = true
	c.steps(2)
	if levelled[2] != "a" || !n.store.has(es[0], late) {
		t.Errorf("n2 has not levelled: %v", levelled)
	}
	c.mustEqual(es, 0, 1, 2)
	said := c.said
	c.steps(3)
	if c.said != said {
		t.Error("it walks again")
	}
	decision = "b"
	c.steps(3)
	if levelled[2] != "b" {
		t.Errorf("after another decision: %v", levelled)
	}
}
