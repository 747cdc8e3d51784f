package mqtt

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// Appender stores batches. A batch is durable when Append returns nil, but for
// what is marked in b.Rejected.
type Appender interface {
	Append(ctx context.Context, b *series.Batch) error
}

// DeadLetters keeps messages, or parts of one, that can never be stored, for
// people to look at. It copies the payload.
type DeadLetters interface {
	Add(door, topic, reason string, err error, payload []byte)
}

const door = "mqtt"

// message is what waits for a commit. The collector keeps topic and payload until then.
type message struct {
	from    sender // nil when nobody waits
	topic   string
	payload []byte
	ref     any // the sender's own
	id      uint16
	qos     byte
	receipt *receipt // of quality 2
	first   int      // of its entries in the batch
	n       int
}

// sender is told what became of its messages, in the order in which it added
// them, by one goroutine at a time. While it blocks, nobody else is told.
type sender interface {
	done(m *message)   // committed, or nothing of it can ever be stored
	failed(m *message) // not committed: the message must come again
	flush()            // after the last done of a batch
}

// pack is a batch on its way, with the messages that it came from.
type pack struct {
	batch  series.Batch
	keys   []byte // of all entries; Batch.Series get their keys at the commit, when it grows no more
	ends   []int  // of each entry's key in keys
	msgs   []message
	bytes  int // of payloads and keys
	number uint64
}

// collector gathers messages into packs and commits several packs at once, but
// reports on them in order. Samples of one series that come within a millisecond may
// reach the appender in either order.
type collector struct {
	next    Appender
	letters DeadLetters
	o       Tuning
	log     *slog.Logger
	m       *metrics

	mu     sync.Mutex // guards what follows
	open   *pack
	spare  []*pack
	taken  uint64 // packs taken from open so far
	turn   uint64 // the pack whose messages may be reported on
	closed bool
	work   *sync.Cond // open has messages, or closed
	room   *sync.Cond // open is not full any more, or closed
	turns  *sync.Cond // turn has changed
}

// Tuning of how messages become batches. The zero value is usable.
type Tuning struct {
	MaxMessages int           // messages a batch; 0 means 4,096
	MaxBytes    int           // bytes of payload and names a batch; 0 means 8 MiB
	InFlight    int           // batches being committed at once; 0 means 3
	RetryFor    time.Duration // how long a batch is tried again before its senders are cut off; 0 means 15s
	DrainFor    time.Duration // how long shutting down may wait for commits; 0 means 10s
}

func (t Tuning) withDefaults() Tuning {
	if t.MaxMessages == 0 {
		t.MaxMessages = 4096
	}
	if t.MaxBytes == 0 {
		t.MaxBytes = 8 << 20
	}
	if t.InFlight == 0 {
		t.InFlight = 3
	}
	if t.RetryFor == 0 {
		t.RetryFor = 15 * time.Second
	}
	if t.DrainFor == 0 {
		t.DrainFor = 10 * time.Second
	}
	return t
}

func newCollector(next Appender, letters DeadLetters, o Tuning, log *slog.Logger, m *metrics) *collector {
	c := &collector{next: next, letters: letters, o: o.withDefaults(), log: log, m: m, open: new(pack)}
	c.work, c.room, c.turns = sync.NewCond(&c.mu), sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	return c
}

// add queues a message and what it says. It blocks while the open pack is full, which
// is what slows senders down. It returns false when the collector is closed.
func (c *collector) add(m message, p *parsed) bool {
	c.mu.Lock()
	for !c.closed && c.open.full(c.o) {
		c.room.Wait()
	}
	if c.closed {
		c.mu.Unlock()
		return false
	}
	if len(c.open.msgs) == 0 {
		c.work.Signal()
	}
	c.open.add(m, p)
	c.mu.Unlock()
	return true
}

func (k *pack) full(o Tuning) bool { return len(k.msgs) >= o.MaxMessages || k.bytes >= o.MaxBytes }

func (k *pack) add(m message, p *parsed) {
	m.first, m.n = len(k.ends), len(p.items)
	base := len(k.keys)
	k.keys = append(k.keys, p.keys...)
	for _, it := range p.items {
		k.ends = append(k.ends, base+it.end)
		k.batch.Series = append(k.batch.Series, series.Entry{First: len(k.batch.Samples), Count: 1})
		k.batch.Samples = append(k.batch.Samples, series.Sample{T: it.t, V: it.v})
	}
	k.bytes += len(m.payload) + len(p.keys)
	k.msgs = append(k.msgs, m)
}

// run commits until close has been called and everything is committed, or ctx is
// done, when what is left fails.
func (c *collector) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range c.o.InFlight {
		wg.Go(func() {
			for k := c.take(); k != nil; k = c.take() {
				err := c.commit(ctx, k)
				c.report(k, err)
			}
		})
	}
	wg.Wait()
}

// close makes add refuse; run ends when what was added before is committed.
func (c *collector) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.work.Broadcast()
	c.room.Broadcast()
}

// take waits for messages and opens a new pack. It returns nil when there will be none.
func (c *collector) take() *pack {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open.msgs) == 0 {
		if c.closed {
			return nil
		}
		c.work.Wait()
	}
	k := c.open
	k.number = c.taken
	c.taken++
	if n := len(c.spare); n > 0 {
		c.open, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		c.open = new(pack)
	}
	c.room.Broadcast()
	return k
}
