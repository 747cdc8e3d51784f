package mqtt

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// commit appends the pack, again and again while that may help.
func (c *collector) commit(ctx context.Context, k *pack) error {
	if len(k.ends) == 0 {
		return nil
	}
	start := 0
	for i, end := range k.ends {
		k.batch.Series[i].Key = k.keys[start:end:end]
		start = end
	}
	c.m.batchSize.Observe(float64(len(k.msgs)))
	deadline := time.Now().Add(c.o.RetryFor)
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.next.Append(ctx, &k.batch)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().Add(wait).After(deadline) {
			return err
		}
		c.m.retries.Inc()
		c.log.Debug("a batch of messages was not stored, trying again", "err", err, "messages", len(k.msgs))
		if !sleep(ctx, wait) {
			return err
		}
	}
}

// sleep returns false when ctx ended it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// report tells the senders what became of their messages, when all earlier packs have been reported on.
func (c *collector) report(k *pack, err error) {
	c.mu.Lock()
	for c.turn != k.number {
		c.turns.Wait()
	}
	c.mu.Unlock()

	if err != nil {
		c.log.Warn("messages were not stored: their senders are cut off and send them again", "err", err, "messages", len(k.msgs))
		c.m.failed.Add(float64(len(k.msgs)))
	} else if k.batch.Rejected.Any() {
		c.bury(k)
	}
	for i := range k.msgs {
		switch m := &k.msgs[i]; {
		case m.from == nil:
		case err != nil:
			m.from.failed(m)
		default:
			m.from.done(m)
		}
	}
	for i := range k.msgs {
		if m := &k.msgs[i]; m.from != nil {
			m.from.flush()
		}
	}

	k.reset()
	c.mu.Lock()
	c.turn++
	c.turns.Broadcast()
	c.spare = append(c.spare, k)
	c.mu.Unlock()
}

const keptBytes = 4 << 20 // a pack with more memory than this is not worth keeping

func (k *pack) reset() {
	clear(k.msgs)
	k.batch.Reset()
	k.keys, k.ends, k.msgs, k.bytes = k.keys[:0], k.ends[:0], k.msgs[:0], 0
	if cap(k.keys) > keptBytes || cap(k.ends) > keptBytes/64 {
		*k = pack{}
	}
}

// bury puts the messages aside of which something was rejected.
func (c *collector) bury(k *pack) {
	reason, err := verdict(&k.batch.Rejected)
	for i := range k.msgs {
		m := &k.msgs[i]
		for _, e := range k.batch.Series[m.first : m.first+m.n] {
			if e.Bad || e.Count == 0 {
				c.letters.Add(door, m.topic, reason, err, m.payload)
				break
			}
		}
	}
}

// verdict is one reason and one error for the rejections of a batch, which does not keep
// whose is which.
func verdict(r *series.Rejected) (reason string, err error) {
	reason = "rejected"
	if len(r.Reasons) == 1 {
		for reason = range r.Reasons {
		}
	}
	switch len(r.Errs) {
	case 0:
		return reason, errors.New(reason)
	case 1:
		return reason, r.Errs[0]
	}
	var all []string
	for _, e := range r.Errs {
		all = append(all, e.Error())
	}
	return reason, errors.New("one of: " + strings.Join(all, "; "))
}
