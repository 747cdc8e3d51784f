package gossip

import (
	"fmt"

	"github.com/minitrue/minitrue/shard/merkle"
)

// DeletePrefix begins the keys of records that say what was deleted; see package cluster.
const DeletePrefix = "delete/"

// Put writes records of others than this package, whose keys begin with [DeletePrefix]; a nil value takes one back. They are on
// the disk here when it returns, and on their way to the others.
func (c *Cluster) Put(records map[string][]byte) error {
	return c.update("put records", func() ([]merkle.Record, error) {
		var out []merkle.Record
		for key, value := range records {
			if len(key) <= len(DeletePrefix) || key[:len(DeletePrefix)] != DeletePrefix {
				return out, fmt.Errorf("record %q is none of others", key)
			}
			var r merkle.Record
			var err error
			if value == nil {
				r, err = c.set.Delete(c.now(), key)
			} else if !c.set.Room(spared, sparedBytes+len(value)) {
				err = fmt.Errorf("record %q: there are %d, and what room is left is for what the cluster knows of its nodes", key, c.set.Len())
			} else {
				r, err = c.set.Put(c.now(), key, value)
			}
			if err != nil {
				return out, err
			}
			out = append(out, r)
		}
		return out, nil
	})
}

// Others returns the values of the records that Put wrote, on this node or another, by key.
func (c *Cluster) Others() map[string][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]byte{}
	for _, r := range c.set.Range(DeletePrefix) {
		out[r.Key] = r.Value
	}
	return out
}
