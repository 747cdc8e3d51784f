package main

import (
	"sync/atomic"

	"github.com/minitrue/minitrue/shard/cluster"
	"github.com/minitrue/minitrue/shard/gossip"
)

// held is by how many owners every acknowledged sample is held, which is what reading and copying rely on. It is behind the consistency of
// writes while that is being raised: what was written before is with fewer.
type held struct{ c atomic.Int32 }

func (h *held) acks(owners int) int { return cluster.Consistency(h.c.Load()).Acks(owners) }

// sources is of how many owners a partition is copied, so that every acknowledged sample is among what they have.
func (h *held) sources(owners int) int { return owners - h.acks(owners) + 1 }

// takeOver does as the cluster has decided about writes. What is not known is asked for of all when it is written, and of none when it is relied on.
func (m *membership) takeOver(l gossip.Level) {
	c, err := cluster.ParseConsistency(l.Held)
	if err != nil {
		c = cluster.One
	}
	m.held.c.Store(int32(c)) // before writes are with fewer
	if c, err = cluster.ParseConsistency(l.Write); err != nil {
		c = cluster.All
	}
	m.writer.SetConsistency(c)
}
