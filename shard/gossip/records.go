package gossip

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// Keys of records, see the package's comment.
const (
	nodePrefix    = "node/"
	addrPrefix    = "addr/"
	copiedPrefix  = "copied/"
	levelPrefix   = "level/"
	settingPrefix = "setting/"

	settingReplication = "replication-factor"
	settingConsistency = "write-consistency"
	placed             = settingPrefix + "replication-placed"
	held               = settingPrefix + "write-consistency-held"
	sweptBefore        = settingPrefix + "deletes-swept"
)

// address is the value of an addr record.
type address struct {
	Name   string `json:"name"`
	Gossip string `json:"gossip"`
	Peer   string `json:"peer"`
	HTTP   string `json:"http"`
}

// checkSetting says whether a setting can have a value.
func checkSetting(name, value string) error {
	switch name {
	case settingReplication:
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 16 {
			return fmt.Errorf("%s %q is no number between 1 and 16", name, value)
		}
	case settingConsistency:
		if !slices.Contains(levels, value) {
			return fmt.Errorf("%s %q is not one, quorum or all", name, value)
		}
	default:
		return fmt.Errorf("%q is no setting: want %s or %s", name, settingReplication, settingConsistency)
	}
	return nil
}

// state is what the records say.
type state struct {
	nodes     []shard.Node // by ID
	addresses map[string]address
	placed    int
	resize    shard.Resize
	bad       []error // records that are not understood, and left out
}

// readState reads the records. Any value of a record may come from a peer: what is no good is left out, so that one bad record
// does not stop a cluster.
func readState(set *merkle.Set) state {
	s := state{addresses: map[string]address{}}
	replaced := map[string]bool{}
	for _, r := range set.Range(nodePrefix) {
		var n shard.Node
		if err := json.Unmarshal(r.Value, &n); err != nil {
			s.bad = append(s.bad, fmt.Errorf("record %s: %w", r.Key, err))
			continue
		}
		if err := checkNode(n, strings.TrimPrefix(r.Key, nodePrefix)); err != nil {
			s.bad = append(s.bad, fmt.Errorf("record %s: %w", r.Key, err))
			continue
		}
		s.nodes = append(s.nodes, n)
		if n.Replaces != "" && n.State != shard.Joining {
			replaced[n.Replaces] = true
		}
	}
	// A replacement becomes active and its predecessor leaves in one change, that of one record.
	s.nodes = slices.DeleteFunc(s.nodes, func(n shard.Node) bool { return replaced[n.ID] })
	for _, n := range s.nodes {
		var a address
		if b, ok := set.Get(addrPrefix + n.ID); ok {
			if err := json.Unmarshal(b, &a); err != nil {
				s.bad = append(s.bad, fmt.Errorf("record %s%s: %w", addrPrefix, n.ID, err))
			}
		}
		s.addresses[n.ID] = a
	}
	s.readReplication(set)
	return s
}

func checkNode(n shard.Node, id string) error {
	switch {
	case n.ID != id || uuid.Validate(id) != nil || len(id) != 36 || n.Replaces == id:
		return fmt.Errorf("its node is %q", n.ID)
	case n.State > shard.Leaving || !(n.Weight >= 0 && n.Weight <= 100):
		return fmt.Errorf("%v and weight %v are impossible", n.State, n.Weight)
	case len(n.Zone) > maxText || len(n.Place) > maxText || len(n.Replaces) > maxText:
		return errors.New("it is too long")
	}
	return nil
}

func (s *state) readReplication(set *merkle.Set) {
	number := func(key string) int {
		b, _ := set.Get(key)
		if checkSetting(settingReplication, string(b)) != nil {
			return 0
		}
		n, _ := strconv.Atoi(string(b))
		return n
	}
	wanted := number(settingPrefix + settingReplication)
	if s.placed = number(placed); s.placed == 0 {
		s.placed = max(1, wanted)
	}
	if wanted > 0 && wanted != s.placed {
		r, _ := set.Record(settingPrefix + settingReplication)
		s.resize = shard.Resize{To: wanted, Since: r.Millis()}
	}
}

// ring is that of the state, an old one if it is the same.
func (s *state) ring(old *shard.Ring) (*shard.Ring, error) {
	r, err := shard.NewResizedRing(s.nodes, s.placed, s.resize)
	switch {
	case err != nil:
		return nil, err
	case old != nil && old.Epoch() == r.Epoch():
		return old, nil
	}
	return r, nil
}

const recordsFile = "cluster.bin"

// readRecords reads cluster.bin; it is nil when there is none.
func readRecords(o Options, id string) (*merkle.Set, error) {
	path := filepath.Join(o.Dir, recordsFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the cluster knows: %w", err)
	}
	set, err := merkle.Decode(b, id)
	if err != nil {
		return nil, fmt.Errorf("read what the cluster knows: %s: %w; if another node of the cluster runs, remove the file and start with --seeds", path, err)
	}
	return set, nil
}

// save writes records and identity to the disk, if they are not there yet.
func (c *Cluster) save() error {
	c.saveMu.Lock()
	defer c.saveMu.Unlock()
	c.mu.Lock()
	root, id := c.set.Root(), c.identity
	var b []byte
	if root != c.savedRoot {
		b = c.set.Encode()
	}
	c.mu.Unlock()
	if b != nil {
		path := filepath.Join(c.o.Dir, recordsFile)
		if err := disk.WriteFile(c.o.FS, path, b); err != nil {
			return fmt.Errorf("write what the cluster knows: %s: %w", path, err)
		}
		c.savedRoot = root
	}
	if id == c.savedIdentity {
		return nil
	}
	if err := id.write(c.o); err != nil {
		return err
	}
	c.savedIdentity = id
	return nil
}
