package repair

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// The simulation is a cluster in one goroutine: nodes with stores in maps and the real ring, walks and change logic, over a clock, a network and a
// gossip that a seed drives. Whenever a node asks another one, anything may happen first. At the end of all faults every
// acknowledged sample must be with all owners, all digests must agree, and nothing that was deleted may be there.

var (
	seedFlag = flag.Uint64("seed", 0, "the one simulation to run, with its log")
	simsFlag = flag.Int("sims", 0, "how many simulations to run; 0 means 3000, or 30 with -short")
)

func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		simulate(t, *seedFlag, t.Logf)
		return
	}
	n := *simsFlag
	if n == 0 {
		n = 3000
		if testing.Short() {
			n = 30
		}
	}
	var next atomic.Int64
	for i := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1); seed <= int64(n); seed = next.Add(1) {
				simulate(t, uint64(seed), func(string, ...any) {})
				if t.Failed() {
					next.Store(int64(n)) // the others stop
					t.Fatalf("go test ./shard/repair -run Simulation -seed %d", seed)
				}
			}
		})
	}
}

const simStart = 1_700_000_000_000 // ms

type world struct {
	t     *testing.T
	log   func(string, ...any)
	r     *rand.Rand
	clock int64
	nodes []*node // in the order of their birth; never removed
	// cut says which pairs do not hear each other, one way.
	cut      map[[2]string]bool
	replicas int
	calm     bool            // no node crashes, and no two lose sight of each other
	deaf     map[string]bool // nodes that gossip does not reach, so that they are taken for down, and that go on by the ring they knew
	loss     int             // one of so many requests is lost; 0: none
	rounds   bool            // nodes compare while there are faults
	events   bool            // things happen while nodes talk
	depth    int
	version  uint64
	rings    map[string]*shard.Ring // by what they are made of
	all      []*entry
	next     map[series.ID]int64
	writes   []*write
	deletes  []*deletion
}

// write is one sample on its way, and what became of it.
type write struct {
	of     *entry
	t      int64
	ring   *shard.Ring // of its coordinator
	acks   map[string]bool
	sends  []send
	acked  bool
	fate   fate
	number int
}

type fate int

const (
	lives fate = iota
	dead       // deleted: must be nowhere
	free       // deleted while it was written: may be there or not
)

type send struct {
	from, to string
	before   int64
}

type deletion struct {
	key        string
	id         series.ID
	mint, maxt int64
}

// record is an entry of the gossip; the higher version wins.
type record struct {
	version uint64
	node    shard.Node
	gone    bool
	deleted *deletion
	copied  uint64       // epoch in which the node has copied all that it has to
	copies  shard.Resize // that are wanted; placed when Since is 0
}

const (
	wantedKey = "copies/wanted"
	placedKey = "copies/placed"
)

type node struct {
	w       *world
	id      string
	up      bool
	lost    bool // it does not come back until the faults are over
	records map[string]record
	applied series.Digest
	store   *memory
	rep     *Repairer
	view    *shard.View // but for Up
}

func simulate(t *testing.T, seed uint64, log func(string, ...any)) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		t: t, log: log, r: r, rings: map[string]*shard.Ring{}, clock: simStart, cut: map[[2]string]bool{}, next: map[series.ID]int64{},
		replicas: 1 + r.IntN(3), events: true, calm: r.IntN(2) == 0, loss: []int{0, 0, 5, 30}[r.IntN(4)], rounds: r.IntN(3) == 0,
		deaf: map[string]bool{},
	}
	w.begin()
	for range 150 + r.IntN(250) {
		w.event()
		if w.calm && !t.Failed() {
			w.checkQuorum()
		}
	}
	w.settle()
	for _, fault := range w.faults() {
		t.Error(fault)
	}
}

func (w *world) begin() {
	for i := range 6 + w.r.IntN(8) {
		e := newEntry(labels.FromStrings("__name__", "m", "device_id", fmt.Sprint("d", i, "-", w.r.IntN(1000))))
		w.all = append(w.all, e)
		w.next[e.id] = simStart - w.r.Int64N(4*shard.WindowMillis)
	}
	records := map[string]record{}
	records[placedKey] = record{version: 1, copies: shard.Resize{To: w.replicas}}
	w.version++
	n := 1 + w.r.IntN(5)
	for i := range n {
		id := fmt.Sprint("n", i)
		w.version++
		records["node/"+id] = record{version: w.version, node: shard.Node{ID: id, State: shard.Active, Since: int64(i)}}
	}
	for i := range n {
		w.start(fmt.Sprint("n", i), records)
	}
}

func (w *world) start(id string, records map[string]record) *node {
	n := &node{w: w, id: id, records: map[string]record{}, store: newMemory()}
	w.nodes = append(w.nodes, n)
	n.look()
	n.boot()
	n.merge(records)
	return n
}

// boot starts a process: what the repairer knew is lost, the store is not.
func (n *node) boot() {
	n.up = true
	n.store.own = nil // a store that is opened keeps everything
	n.rep = New(n.store, n, network{n}, network{n}, Options{
		Now:     func() time.Time { return time.UnixMilli(n.w.clock) },
		Deletes: func() series.Digest { return n.applied },
		Gained: func(_ context.Context, epoch uint64) error {
			if n.records["copied/"+n.id].copied != epoch {
				n.change("copied/"+n.id, func(rec *record) { rec.copied = epoch })
			}
			n.conclude()
			return nil
		},
	})
	n.rep.wait = func(context.Context, time.Duration) error { return nil }
	n.store.fail = func() error {
		if !n.up {
			return errors.New("the process is dead")
		}
		return nil
	}
}

// merge takes records that another node knows.
func (n *node) merge(records map[string]record) {
	changed := false
	for _, key := range sorted(records) {
		rec := records[key]
		if n.records[key].version >= rec.version {
			continue
		}
		n.records[key] = rec
		changed = true
		if d := rec.deleted; d != nil {
			_ = n.rep.Delete(func() error {
				n.store.remove(d.id, d.mint, d.maxt)
				h := xxh3.HashString128(d.key)
				n.applied = n.applied.Plus(series.Digest{Hi: h.Hi, Lo: h.Lo})
				return nil
			})
		}
	}
	if changed {
		n.look()
		n.rep.Notify()
		n.conclude()
	}
}

// conclude ends a change that no node can end by itself, when all have copied.
func (n *node) conclude() {
	v := n.View()
	c := v.Ring.Change()
	first := slices.IndexFunc(v.Members, func(m shard.Member) bool { return m.Up && m.State != shard.Joining })
	if !n.up || v.Self < 0 || v.Self != first || !v.Ring.Changing() || c >= 0 && (v.Members[c].State == shard.Joining || len(v.Ring.Next(0)) == 0) {
		return
	}
	for i, m := range v.Members {
		if v.Ring.Copying(i).Len() > 0 && n.records["copied/"+m.ID].copied != v.Ring.Epoch() {
			return
		}
	}
	if c >= 0 {
		n.w.log("%s sees that %s is gone", n.id, v.Members[c].ID)
		n.change("node/"+v.Members[c].ID, func(rec *record) { rec.gone = true })
		return
	}
	n.w.log("%s sees that there are %d copies", n.id, v.Ring.Resizing())
	n.change(placedKey, func(rec *record) { rec.copies.To = v.Ring.Resizing() })
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// look makes the view of the records.
func (n *node) look() {
	var nodes []shard.Node
	var text strings.Builder
	placed, wanted := n.records[placedKey].copies.To, n.records[wantedKey].copies
	fmt.Fprint(&text, placed, wanted)
	for _, key := range sorted(n.records) {
		if rec := n.records[key]; rec.node.ID != "" && !rec.gone {
			nodes = append(nodes, rec.node)
			fmt.Fprintf(&text, "%s %d %d,", rec.node.ID, rec.node.State, rec.node.Since)
		}
	}
	ring := n.w.rings[text.String()]
	if ring == nil {
		var err error
		if ring, err = shard.NewResizedRing(nodes, placed, wanted); err != nil {
			n.w.t.Fatal(err)
		}
		n.w.rings[text.String()] = ring
	}
	n.view = &shard.View{Ring: ring, Self: ring.Index(n.id)}
	for _, x := range ring.Nodes() {
		n.view.Members = append(n.view.Members, shard.Member{Node: x, Name: x.ID})
	}
}

func (n *node) View() *shard.View {
	v := *n.view
	v.Members = slices.Clone(v.Members)
	for i := range v.Members {
		v.Members[i].Up = n.w.hears(n.id, v.Members[i].ID)
	}
	return &v
}

// change writes a record.
func (n *node) change(key string, f func(rec *record)) {
	rec := n.records[key]
	f(&rec)
	n.w.version++
	rec.version = n.w.version
	n.merge(map[string]record{key: rec})
}

func (n *node) Activate(_ context.Context, epoch uint64) error {
	if epoch != n.view.Ring.Epoch() {
		return errors.New("the ring has changed")
	}
	n.w.log("%s is active", n.id)
	n.change("node/"+n.id, func(rec *record) { rec.node.State = shard.Active })
	return nil
}

func (n *node) Left(_ context.Context, epoch uint64) error {
	if epoch != n.view.Ring.Epoch() {
		return errors.New("the ring has changed")
	}
	n.w.log("%s has left", n.id)
	n.change("node/"+n.id, func(rec *record) { rec.gone = true })
	return nil
}

func (w *world) node(id string) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (w *world) reaches(a, b string) bool {
	x, y := w.node(a), w.node(b)
	return x != nil && y != nil && x.up && y.up && !w.cut[[2]string{a, b}] && !w.cut[[2]string{b, a}]
}

// hears says whether gossip goes between two nodes, so that they know each other to be up.
func (w *world) hears(a, b string) bool { return w.reaches(a, b) && !w.deaf[a] && !w.deaf[b] }

// network is how a node talks to others.
type network struct{ n *node }

var errLost = errors.New("lost in the network")

// via says whether a message gets through. Before it does, the world goes on.
func (c network) via(to string) error {
	w := c.n.w
	if w.events && w.depth == 0 && w.r.IntN(6) == 0 {
		w.depth++
		w.small()
		w.depth--
	}
	if !w.reaches(c.n.id, to) || w.loss > 0 && w.r.IntN(w.loss) == 0 {
		return errLost
	}
	return nil
}

func (c network) Ask(ctx context.Context, m shard.Member, q Question) (*Answer, error) {
	if err := c.via(m.ID); err != nil {
		return nil, err
	}
	q, err := QuestionFromBytes(q.AppendTo(nil))
	if err != nil {
		return nil, err
	}
	a, err := c.n.w.node(m.ID).rep.Answer(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := c.via(m.ID); err != nil {
		return nil, err
	}
	return AnswerFromBytes(a.AppendTo(nil), q)
}

func (c network) Fetch(_ context.Context, m shard.Member, parts *shard.Set, ids []series.ID, mint, maxt int64, each func(*series.Batch) error) error {
	if err := c.via(m.ID); err != nil {
		return err
	}
	var batches []*series.Batch
	err := c.n.w.node(m.ID).store.read(parts, ids, mint, maxt, 5, func(b *series.Batch) error {
		batches = append(batches, b)
		return nil
	})
	for _, b := range batches {
		if err := c.via(m.ID); err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return err
}

// event is anything that happens.
func (w *world) event() {
	switch x := w.r.IntN(16); {
	case x == 0 && w.rounds:
		w.round()
	case x < 5:
		w.step()
	case x == 5 && w.r.IntN(2) == 0:
		w.topology()
	case x < 8:
		w.gossip()
	default:
		w.small()
	}
}

// small is anything that may happen while nodes talk.
func (w *world) small() {
	switch x := w.r.IntN(24); {
	case x < 2:
		w.gossip()
	case x == 2 && !w.calm:
		w.crash()
	case x < 5:
		w.boot()
	case x == 5 && !w.calm:
		a, b := w.any(), w.any()
		w.cut[[2]string{a.id, b.id}] = true
	case x == 6:
		clear(w.cut)
	case x == 7 && !w.calm:
		if clear(w.deaf); w.r.IntN(2) == 0 {
			w.deaf[w.any().id] = true
		}
	case x == 8:
		w.pass(w.r.Int64N(40_000))
	case x < 11:
		w.pass(w.r.Int64N(5_000))
	case x == 11:
		w.delete()
	case x == 12:
		w.any().store.compact()
	case x == 13:
		parts := &shard.Set{}
		parts.Add(w.all[w.r.IntN(len(w.all))].partition)
		w.any().rep.Repair(parts, w.clock-w.r.Int64N(shard.WindowMillis))
	case x < 16:
		w.deliver(func(send) bool { return w.r.IntN(2) == 0 })
	default:
		w.write()
	}
}

func (w *world) any() *node { return w.nodes[w.r.IntN(len(w.nodes))] }

// pass lets time go by. No write takes longer than four seconds.
func (w *world) pass(ms int64) {
	w.clock += ms
	w.deliver(func(s send) bool { return s.before <= w.clock })
}

func (w *world) round() {
	n, m := w.any(), w.any()
	if n == m || !n.up {
		return
	}
	if i := n.view.Ring.Index(m.id); i >= 0 && n.view.Self >= 0 {
		w.log("%s compares with %s: %v", n.id, m.id, n.rep.Round(context.Background(), n.View().Members[i]))
	}
	if w.r.IntN(4) == 0 && n.up {
		n.rep.drain(context.Background())
	}
}

func (w *world) step() {
	for range 1 + w.r.IntN(4) {
		w.gossip()
		for _, n := range w.nodes {
			if n.up && w.r.IntN(4) > 0 {
				w.log("%s steps: %v", n.id, n.rep.Step(context.Background()))
			}
		}
		w.pass(w.r.Int64N(8_000))
	}
}

func (w *world) gossip() {
	for range len(w.nodes) {
		a, b := w.any(), w.any()
		if w.hears(a.id, b.id) {
			b.merge(a.records)
			a.merge(b.records)
		}
	}
}

func (w *world) crash() {
	if n := w.any(); n.up && w.r.IntN(2) == 0 {
		w.log("%s crashes", n.id)
		n.up = false
	}
}

func (w *world) boot() {
	for _, n := range w.nodes {
		if !n.up && !n.lost && w.r.IntN(2) == 0 {
			w.log("%s boots", n.id)
			n.boot()
			n.rep.Notify()
		}
	}
}

// topology begins a change of the ring.
func (w *world) topology() {
	n := w.any()
	if !n.up || n.view.Self < 0 {
		return
	}
	v := n.View()
	active := 0
	for _, m := range v.Members {
		if m.State == shard.Active {
			active++
		}
	}
	switch x := w.r.IntN(8); {
	case x < 4 && len(w.nodes) < 8:
		id := fmt.Sprint("n", len(w.nodes))
		w.log("%s joins by %s", id, n.id)
		j := w.start(id, n.records)
		j.change("node/"+id, func(rec *record) {
			rec.node = shard.Node{ID: id, State: shard.Joining, Since: int64(w.version)}
		})
		n.merge(j.records)
	case x == 4:
		to := 1 + w.r.IntN(3)
		w.log("%s wants %d copies", n.id, to)
		n.change(wantedKey, func(rec *record) { rec.copies = shard.Resize{To: to, Since: int64(w.version)} })
	case active > 1:
		m := v.Members[w.r.IntN(len(v.Members))]
		if x == 5 { // by itself, or because it is down
			m = v.Members[v.Self]
		}
		if dead := w.node(m.ID); m.State == shard.Active && (m.ID == n.id || !dead.up) {
			dead.lost = !dead.up
			w.log("%s begins to leave, says %s", m.ID, n.id)
			n.change("node/"+m.ID, func(rec *record) { rec.node.State, rec.node.Since = shard.Leaving, int64(w.version) })
		}
	}
}

// write sends a sample to all who shall have it. Some get it later, or never.
func (w *world) write() {
	n := w.any()
	if !n.up || n.view.Self < 0 {
		return
	}
	e := w.all[w.r.IntN(len(w.all))]
	w.next[e.id] += 1 + w.r.Int64N(10*60_000)
	x := &write{of: e, t: w.next[e.id], ring: n.view.Ring, acks: map[string]bool{}, number: len(w.writes)}
	for _, d := range w.deletes {
		if d.id == e.id && x.t >= d.mint && x.t <= d.maxt {
			x.fate = free
		}
	}
	w.writes = append(w.writes, x)
	for _, i := range x.ring.Writers(e.partition) {
		x.sends = append(x.sends, send{n.id, x.ring.Nodes()[i].ID, w.clock + w.r.Int64N(4000)})
	}
	w.deliver(func(send) bool { return w.r.IntN(5) > 0 })
}

// deliver brings the messages that are chosen to where they go, or loses them.
func (w *world) deliver(now func(send) bool) {
	for _, x := range w.writes {
		x.sends = slices.DeleteFunc(x.sends, func(s send) bool {
			if !now(s) {
				return false
			}
			to := w.node(s.to)
			if !w.reaches(s.from, s.to) || w.loss > 0 && w.r.IntN(w.loss) == 0 {
				return true
			}
			if to.view.Self < 0 || to.view.Ring.Epoch() != x.ring.Epoch() && !to.view.Ring.Written(to.view.Self).Has(x.of.partition) {
				return true // refused as stale
			}
			to.store.put(x.of, x.t, 1)
			x.acks[s.to] = true
			return true
		})
		quorum := func(list []uint8) bool {
			acks := 0
			for _, i := range list {
				if x.acks[x.ring.Nodes()[i].ID] {
					acks++
				}
			}
			return acks >= len(list)/2+1
		}
		if !x.acked && quorum(x.ring.Owners(x.of.partition)) && quorum(x.ring.Next(x.of.partition)) {
			x.acked = true
		}
	}
}

// delete removes some time of a series, which the others hear of later.
func (w *world) delete() {
	n := w.any()
	if !n.up || n.view.Self < 0 {
		return
	}
	e := w.all[w.r.IntN(len(w.all))]
	maxt := w.next[e.id] + 1000 - w.r.Int64N(60*60_000)
	d := &deletion{fmt.Sprint("delete/", len(w.deletes)), e.id, maxt - w.r.Int64N(60*60_000), maxt}
	w.log("%s deletes %v", n.id, *d)
	w.deletes = append(w.deletes, d)
	for _, x := range w.writes {
		if x.of.id != d.id || x.t < d.mint || x.t > d.maxt || x.fate == dead {
			continue
		}
		x.fate = dead
		if len(x.sends) > 0 {
			x.fate = free
		}
	}
	w.version++
	n.merge(map[string]record{d.key: {version: w.version, deleted: d}})
}

// checkQuorum checks, when all know the same ring, that whoever asks as many owners as a query does sees every
// acknowledged sample.
func (w *world) checkQuorum() {
	var ring *shard.Ring
	for _, n := range w.nodes {
		if ring != nil && ring.Epoch() != n.view.Ring.Epoch() {
			return
		}
		ring = n.view.Ring
	}
	for _, x := range w.writes {
		owners := ring.Owners(x.of.partition)
		have := 0
		for _, i := range owners {
			if w.node(ring.Nodes()[i].ID).store.has(x.of, x.t) {
				have++
			}
		}
		if x.acked && x.fate == lives && have < len(owners)/2+1 {
			w.t.Errorf("sample %d (%v at %d) was acknowledged, only %d of its %d owners have it", x.number, x.of.labels, x.t, have, len(owners))
		}
	}
}

// settle ends all faults and lets the cluster repair itself.
func (w *world) settle() {
	w.events, w.loss = false, 0
	clear(w.cut)
	clear(w.deaf)
	w.log("the faults are over")
	for _, n := range w.nodes {
		if !n.up {
			n.boot()
		}
	}
	for good, i := 0, 0; good < 2 && i < 100; i++ {
		w.pass(10_000)
		for _, a := range w.nodes {
			for _, b := range w.nodes {
				b.merge(a.records)
			}
		}
		for _, n := range w.nodes {
			if err := n.rep.Step(context.Background()); err != nil {
				w.log("%s steps: %v", n.id, err)
			}
		}
		for _, n := range w.nodes {
			v := n.View()
			for i, m := range v.Members {
				if i != v.Self && v.Self >= 0 {
					if err := n.rep.Round(context.Background(), m); err != nil {
						w.log("%s compares with %s: %v", n.id, m.ID, err)
					}
				}
			}
		}
		for _, n := range w.nodes {
			n.store.compact()
		}
		good++
		if len(w.faults()) > 0 {
			good = 0
		}
	}
}

func (m *memory) digestOf(p uint16) series.Digest {
	var d series.Digest
	for _, e := range m.series {
		if e.partition == p {
			for t, v := range e.samples {
				d = d.Plus(series.SampleDigest(e.id, t, v))
			}
		}
	}
	return d
}

// faults returns what is not as it must be.
func (w *world) faults() (out []string) {
	fault := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	var ring *shard.Ring
	for _, n := range w.nodes {
		if n.view.Self >= 0 {
			ring = n.view.Ring
		}
	}
	if ring == nil || ring.Changing() && len(ring.Next(0)) > 0 { // the last node does not leave
		return []string{"the ring is not at rest"}
	}
	for _, x := range w.writes {
		for _, i := range ring.Owners(x.of.partition) {
			n := w.node(ring.Nodes()[i].ID)
			has := n.store.has(x.of, x.t)
			if x.acked && x.fate == lives && !has {
				fault("sample %d (%v at %d) was acknowledged, %s has not got it", x.number, x.of.labels, x.t, n.id)
			}
			if x.fate == dead && has {
				fault("sample %d (%v at %d) was deleted, %s has it", x.number, x.of.labels, x.t, n.id)
			}
		}
	}
	for _, e := range w.all {
		owners := ring.Owners(e.partition)
		first := w.node(ring.Nodes()[owners[0]].ID)
		for _, n := range w.nodes {
			i, d := ring.Index(n.id), n.store.digestOf(e.partition)
			switch {
			case i >= 0 && slices.Contains(owners, uint8(i)):
				if d != first.store.digestOf(e.partition) {
					fault("%s and %s have different digests of partition %d", first.id, n.id, e.partition)
				}
			case i >= 0 && d != series.Digest{}:
				fault("%s still has partition %d", n.id, e.partition)
			}
		}
	}
	return out
}
