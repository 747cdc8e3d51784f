package gossip

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

// The methods of this file are memberlist's door to a Cluster. It calls them while it holds its own locks: they wait for nothing.

// NodeMeta tells the others to which cluster this node belongs: 16 bytes, none before it does.
func (c *Cluster) NodeMeta(int) []byte { return clusterBytes(*c.cluster.Load()) }

func clusterBytes(cluster string) []byte {
	u, err := uuid.Parse(cluster)
	if err != nil {
		return nil
	}
	return u[:]
}

func clusterText(b []byte) string {
	u, err := uuid.FromBytes(b)
	if err != nil || u == uuid.Nil {
		return ""
	}
	return u.String()
}

// NotifyMsg takes a message of a peer.
func (c *Cluster) NotifyMsg(b []byte) {
	select {
	case c.inbox <- append([]byte(nil), b...):
	default: // what it brought comes again by comparison
		c.metrics.dropped.Inc()
	}
}

// GetBroadcasts gives what is to be passed on.
func (c *Cluster) GetBroadcasts(overhead, limit int) [][]byte {
	return c.queue.GetBroadcasts(overhead, limit)
}

// LocalState goes with the exchange of members: the root.
func (c *Cluster) LocalState(bool) []byte {
	return c.message(kindRoot, c.root.Load().AppendTo(nil))
}

// MergeRemoteState is its other end.
func (c *Cluster) MergeRemoteState(b []byte, _ bool) { c.NotifyMsg(b) }

// errForeign refuses nodes of another cluster.
var errForeign = errors.New("another cluster")

// admit says whether a node with these data may be a member. When this node has no cluster yet, it takes the one of the node that it asked.
func (c *Cluster) admit(n *memberlist.Node) error {
	id, _, err := parseMember(n.Name)
	if err != nil {
		return err
	}
	theirs, ours := clusterText(n.Meta), *c.cluster.Load()
	switch {
	case id == c.identity.ID || theirs == "" || theirs == ours:
		return nil
	case ours != "":
		return fmt.Errorf("%w: node %s at %s belongs to cluster %s, and this one to %s; to join that one start with an empty data folder",
			errForeign, short(id), n.Address(), theirs, ours)
	case c.joining.Load() == 0:
		return fmt.Errorf("node %s at %s belongs to cluster %s, which this node has not asked yet", short(id), n.Address(), theirs)
	}
	if none := c.cluster.Load(); *none == "" && c.cluster.CompareAndSwap(none, &theirs) {
		return nil
	}
	return c.admit(n)
}

// NotifyMerge refuses to become one with another cluster.
func (c *Cluster) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.State != memberlist.StateAlive {
			continue
		}
		if err := c.admit(n); err != nil {
			return err
		}
	}
	return nil
}

// NotifyAlive refuses single nodes of another cluster, of which a third one tells.
func (c *Cluster) NotifyAlive(n *memberlist.Node) error { return c.admit(n) }

// NotifyJoin is told when a member is there.
func (c *Cluster) NotifyJoin(n *memberlist.Node) { c.members.note(n, true); c.noteHealth() }

// NotifyLeave is told when one is dead.
func (c *Cluster) NotifyLeave(n *memberlist.Node) { c.members.note(n, false); c.noteHealth() }

// NotifyUpdate is told when what it says of itself changes.
func (c *Cluster) NotifyUpdate(n *memberlist.Node) { c.members.note(n, true); c.noteHealth() }

func (c *Cluster) noteHealth() {
	select {
	case c.health <- struct{}{}:
	default: // it is noted
	}
}
