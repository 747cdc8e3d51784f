package gossip

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/minitrue/minitrue/shard/merkle"
)

// most is how large a broadcast may be: a packet has room for it. What is larger travels by comparison.
const most = 1100

// broadcast passes records on. They stay together, so that a change of several is one everywhere.
func (c *Cluster) broadcast(records []merkle.Record) {
	if len(records) == 0 || c.ml.Load() == nil {
		return
	}
	var body []byte
	keys := make([]string, len(records))
	for i, r := range records {
		body, keys[i] = r.AppendTo(body), r.Key
	}
	b := c.message(kindRecords, body)
	if len(b) > most {
		return
	}
	c.queue.QueueBroadcast(&rumour{strings.Join(keys, " "), b})
}

// rumour is a message of records that is passed on until all should know it, or until there is a newer one of the same records.
type rumour struct {
	keys string
	b    []byte
}

func (r *rumour) Name() string    { return r.keys }
func (r *rumour) Message() []byte { return r.b }
func (r *rumour) Finished()       {}
func (r *rumour) Invalidates(o memberlist.Broadcast) bool {
	other, ok := o.(*rumour)
	return ok && other.keys == r.keys
}

// receive does what messages say, one at a time.
func (c *Cluster) receive(ctx context.Context) {
	turns := make(chan struct{}, 8) // answers under way: a peer that does not take its own must not keep the others waiting
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-c.inbox:
			c.metrics.received.Add(float64(len(b)))
			m, err := decodeMessage(b)
			var answers [][]byte
			if err == nil {
				answers, err = c.answer(m)
			}
			if err != nil {
				c.metrics.refused.WithLabelValues("message").Inc()
				c.log.Debug("refused a message", "peer", m.addr, "err", err)
			}
			if len(answers) == 0 {
				continue
			}
			select {
			case turns <- struct{}{}:
				go func() {
					defer func() { <-turns }()
					for _, a := range answers {
						c.send(m.addr, a)
					}
				}()
			default:
				c.metrics.dropped.Inc()
			}
		}
	}
}

// answer does what a message says, and returns what goes back to its sender.
func (c *Cluster) answer(m message) ([][]byte, error) {
	id, other, err := parseMember(m.member)
	if err != nil {
		return nil, err
	}
	switch {
	case m.kind == kindHello || m.kind == kindAnswer:
		return c.meet(m, id, other)
	case id == c.identity.ID, m.cluster != *c.cluster.Load() || m.cluster == "":
		return nil, nil // of another run of this node, or of another cluster
	}
	switch m.kind {
	case kindRoot, kindAsk:
		return c.answerRoot(m, id)
	case kindDigests:
		return c.answerDigests(m)
	case kindOffer:
		return c.answerOffer(m, id)
	case kindRecords:
		records, err := merkle.DecodeRecords(m.body)
		if err == nil {
			c.merge(records, short(id))
		}
		return nil, err
	}
	return nil, nil
}

func (c *Cluster) answerRoot(m message, id string) ([][]byte, error) {
	theirs, err := decodeRoot(m.body)
	if err != nil {
		return nil, err
	}
	root := *c.root.Load()
	if theirs == root {
		c.agree(id)
		if m.kind == kindAsk {
			return [][]byte{c.message(kindRoot, root.AppendTo(nil))}, nil
		}
		return nil, nil
	}
	c.mu.Lock()
	digests := c.set.Digests()
	c.mu.Unlock()
	return [][]byte{c.message(kindDigests, merkle.AppendDigests(nil, digests[:]))}, nil
}

// largest is about how large a message of records is, so that one of them takes no long time on a slow link.
const largest = 256 << 10

// answerDigests offers all records of the buckets that differ. A peer that asks again before it can have taken in what
// it was offered gets nothing.
func (c *Cluster) answerDigests(m message) ([][]byte, error) {
	theirs, err := merkle.DecodeDigests(m.body)
	if err != nil || len(theirs) != merkle.Buckets {
		return nil, errMessage
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(c.offered, func(_ string, at time.Time) bool { return now.Sub(at) > 2*c.o.Interval })
	if _, ok := c.offered[m.member]; ok {
		return nil, nil
	}
	c.offered[m.member] = now
	ours := c.set.Digests()
	var offers [][]byte
	body, these := make([]byte, 8), buckets(0)
	for i := range ours {
		if ours[i] == theirs[i] {
			continue
		}
		these.add(i)
		for _, r := range c.set.Bucket(i) {
			body = r.AppendTo(body)
		}
		if len(body) > largest {
			binary.BigEndian.PutUint64(body, uint64(these))
			offers = append(offers, c.message(kindOffer, body))
			body, these = make([]byte, 8), 0
		}
	}
	if these != 0 {
		binary.BigEndian.PutUint64(body, uint64(these))
		offers = append(offers, c.message(kindOffer, body))
	}
	return offers, nil
}

// answerOffer takes records in and returns those that are newer here, or missing there.
func (c *Cluster) answerOffer(m message, id string) ([][]byte, error) {
	these, records, err := decodeOffer(m.body)
	if err != nil {
		return nil, err
	}
	c.merge(records, short(id))
	theirs := map[string]merkle.Record{}
	for _, r := range records {
		theirs[r.Key] = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var body []byte
	for i := range merkle.Buckets {
		if !these.has(i) {
			continue
		}
		for _, r := range c.set.Bucket(i) {
			if t, ok := theirs[r.Key]; !ok || t.Compare(r) < 0 {
				body = r.AppendTo(body)
			}
		}
	}
	if body == nil {
		return nil, nil
	}
	return [][]byte{c.message(kindRecords, body)}, nil
}

// send gives a message to a peer, whatever its size.
func (c *Cluster) send(addr string, b []byte) error {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return fmt.Errorf("%q is no address", host)
	}
	c.metrics.sent.Add(float64(len(b)))
	return c.ml.Load().SendReliable(&memberlist.Node{Addr: ip, Port: uint16(port)}, b)
}

// compare tells a random member the root, again and again, and ends changes for which all is done.
func (c *Cluster) compare(ctx context.Context) {
	for sleep(ctx, jitter(c.o.Interval)) {
		if m, ok := c.random(); ok && *c.cluster.Load() != "" {
			b := c.message(kindRoot, c.root.Load().AppendTo(nil))
			c.metrics.sent.Add(float64(len(b)))
			if err := c.ml.Load().SendToAddress(memberlist.Address{Addr: m.addr}, b); err != nil {
				c.log.Debug("a peer cannot be reached", "peer", m.addr, "err", err)
			}
		}
		if err := c.finish(); err != nil {
			c.log.Error("a change does not end", "err", err)
		}
		if err := c.sweep(); err != nil {
			c.log.Error("old deletes are not swept", "err", err)
		}
		err := c.save() // what failed before
		c.mu.Lock()
		c.warn("save", err != nil, "what the cluster knows is not on the disk, and it is tried on", "err", err)
		c.mu.Unlock()
	}
}

// farewell tells all members at once what a broadcast might no longer reach: that this node is gone.
func (c *Cluster) farewell() {
	var body []byte
	c.mu.Lock()
	for _, prefix := range []string{nodePrefix, addrPrefix, copiedPrefix} {
		if r, ok := c.set.Record(prefix + c.identity.ID); ok {
			body = r.AppendTo(body)
		}
	}
	c.mu.Unlock()
	b := c.message(kindRecords, body)
	done := make(chan struct{})
	others := c.others()
	for _, m := range others {
		go func() {
			if err := c.send(m.addr, b); err != nil {
				c.log.Debug("a peer does not hear the goodbye", "peer", m.addr, "err", err)
			}
			done <- struct{}{}
		}()
	}
	for range others {
		<-done
	}
}

// sleep waits; it is false when ctx is done.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// jitter is about d, so that nodes do not do the same at the same moment.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
