package gossip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// SetSetting changes replication-factor or write-consistency of the whole cluster. More copies, or fewer, are a change that takes its
// turn and its time; so does it until a higher consistency is true of what was written before, see [Level].
func (c *Cluster) SetSetting(name, value string) error {
	if err := checkSetting(name, value); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	err := c.update("set", func() ([]merkle.Record, error) {
		if *c.cluster.Load() == "" {
			return nil, errors.New("this node is in no cluster yet")
		}
		key := settingPrefix + name
		if b, ok := c.set.Get(key); ok && string(b) == value {
			return nil, nil
		}
		if name == settingConsistency {
			return c.decide(value)
		}
		var records []merkle.Record
		if _, known := c.set.Get(placed); name == settingReplication && !known { // from which it changes
			r, err := c.set.Put(c.now(), placed, []byte(strconv.Itoa(c.View().Ring.Replication())))
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		r, err := c.set.Put(c.now(), key, []byte(value))
		if err != nil {
			return records, err
		}
		return append(records, r), nil
	})
	return errors.Join(err, c.finish()) // where all nodes have everything, it is over at once
}

// Copied says that this node has, from a quorum of their owners, all that [shard.Ring.Copying] names in the ring of an epoch. A node that is
// joining becomes active by that. When all nodes have said it, the change of the epoch is over: the leaving node is gone, or the
// number of copies is the new one.
func (c *Cluster) Copied(ctx context.Context, epoch uint64) error {
	v := c.View()
	if v.Ring.Epoch() != epoch || v.Self < 0 {
		return nil // another change has begun
	}
	if change := v.Ring.Change(); change == v.Self && v.Members[change].State == shard.Joining {
		return c.Activate(ctx, epoch)
	}
	err := c.update("copied", func() ([]merkle.Record, error) {
		key, value := copiedPrefix+c.identity.ID, epochText(epoch)
		if b, _ := c.set.Get(key); string(b) == value {
			return nil, nil
		}
		return one(c.set.Put(c.now(), key, []byte(value)))
	})
	if err != nil {
		return err
	}
	return c.finish()
}

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// finish ends a change for which all have copied what they must. Of those that see it the first that is up does it.
func (c *Cluster) finish() error {
	v := c.View()
	if v.Self < 0 || !v.Ring.Changing() {
		return nil
	}
	change := v.Ring.Change()
	if !c.first(v) || change >= 0 && v.Members[change].State == shard.Joining {
		return nil
	}
	return c.update("end a change", func() ([]merkle.Record, error) {
		if c.View() != v || len(c.waiting(v)) > 0 {
			return nil, nil
		}
		if change >= 0 {
			c.log.Info("a node is gone, and the others have its data", "peer", v.Members[change].Name)
			return c.remove(v.Members[change].ID)
		}
		c.log.Info("the number of copies has changed", "copies", v.Ring.Resizing())
		return one(c.set.Put(c.now(), placed, []byte(strconv.Itoa(v.Ring.Resizing()))))
	})
}

// first says whether this node is the first active one that is up, as far as it knows.
func (c *Cluster) first(v *shard.View) bool {
	return v.Self >= 0 && v.Self == slices.IndexFunc(v.Members, func(m shard.Member) bool { return m.Up && m.State == shard.Active })
}

// waiting are the nodes that have not copied yet what the change needs. The caller holds mu.
func (c *Cluster) waiting(v *shard.View) []shard.Member {
	var out []shard.Member
	for i, m := range v.Members {
		if b, _ := c.set.Get(copiedPrefix + m.ID); string(b) != epochText(v.Ring.Epoch()) && v.Ring.Copying(i).Len() > 0 {
			out = append(out, m)
		}
	}
	return out
}
