package gossip

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// Level is by how many copies the cluster acknowledges writes, and has acknowledged them.
type Level struct {
	Write   string // one, quorum or all: writes from now on; "" while it is not known
	Held    string // likewise: every acknowledged sample is with so many of its owners
	Version string // of the decision about Write: two are the same when it is
}

// levels are the consistencies, the weakest first.
var levels = []string{"one", "quorum", "all"}

func weaker(a, b string) string { return levels[min(slices.Index(levels, a), slices.Index(levels, b))] }

// Level is what the cluster has decided. When it asks for more copies than before, Held follows Write as soon as all nodes have Applied that and
// all owners have Levelled. When it asks for fewer, Write follows Held as soon as the other nodes that are up have Applied that: until then they may
// answer queries by what writes were with before.
func (c *Cluster) Level() Level {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.level()
}

// level is Level. The caller holds mu.
func (c *Cluster) level() Level {
	l, before := c.decision()
	if before != "" && c.unaware(l.Version) {
		l.Write = before
	}
	return l
}

// decision is the level when all have applied it, and by how many copies writes were before, if that is more; else "". The caller holds mu.
func (c *Cluster) decision() (l Level, before string) {
	const weakest = "one"
	r, _ := c.set.Record(settingPrefix + settingConsistency)
	if checkSetting(settingConsistency, string(r.Value)) != nil {
		return Level{Held: weakest}, ""
	}
	l = Level{Write: string(r.Value), Version: fmt.Sprintf("%016x-%s", r.Version, r.Origin)}
	b, known := c.set.Get(held)
	value, rest, _ := strings.Cut(string(b), " ")
	version, before, _ := strings.Cut(rest, " ")
	switch {
	case !known: // it is as when the cluster began
		l.Held = l.Write
	case version != l.Version || !slices.Contains(levels, value): // of another decision: nobody has looked since
		l.Held = weakest
	default:
		l.Held = weaker(value, l.Write)
		if slices.Contains(levels, before) && weaker(before, l.Write) != before {
			return l, before
		}
	}
	return l, ""
}

// unaware says whether another node that is up has not applied a decision. The caller holds mu.
func (c *Cluster) unaware(version string) bool {
	for id := range c.up {
		if r, _ := c.set.Record(nodePrefix + id); r.Value != nil && !c.took(id, version, applied) {
			return true
		}
	}
	return false
}

// decide writes another consistency. The caller holds mu.
func (c *Cluster) decide(value string) (records []merkle.Record, err error) {
	before := c.level()
	r, err := c.set.Put(c.now(), settingPrefix+settingConsistency, []byte(value))
	if err != nil {
		return nil, err
	}
	records = append(records, r)
	r, err = c.hold(weaker(before.Held, value), before.Write)
	if err != nil {
		return records, err
	}
	return append(records, r), nil
}

// hold notes by how many copies every acknowledged sample is held, when the decision is the present one, and what writes were with before that. The
// caller holds mu.
func (c *Cluster) hold(value, before string) (merkle.Record, error) {
	return c.set.Put(c.now(), held, []byte(strings.TrimSpace(value+" "+c.level().Version+" "+before)))
}

// Steps of a node after a decision, as the records have them.
const (
	applied  = "applied"
	levelled = "levelled"
)

// Applied says that this node acknowledges no more writes by a decision before that of a version, and answers by none.
func (c *Cluster) Applied(version string) error {
	return c.update("apply the consistency", func() (records []merkle.Record, err error) {
		l, before := c.decision()
		if l.Version != version || l.Held == l.Write && before == "" || c.View().Self < 0 {
			return nil, nil
		}
		if !c.took(c.identity.ID, version, applied) {
			records, err = one(c.set.Put(c.now(), levelPrefix+c.identity.ID, []byte(version+" "+applied)))
		}
		if err != nil || before == "" || !c.all(version, applied) {
			return records, err
		}
		r, err := c.hold(l.Held, "") // who comes later knows nothing of what was before
		if err != nil {
			return records, err
		}
		return append(records, r), nil
	})
}

// all says whether all nodes have taken a step. The caller holds mu.
func (c *Cluster) all(version, step string) bool {
	return !slices.ContainsFunc(c.View().Members, func(m shard.Member) bool { return !c.took(m.ID, version, step) })
}

// took says whether a node has taken a step. The caller holds mu.
func (c *Cluster) took(id, version, step string) bool {
	b, _ := c.set.Get(levelPrefix + id)
	v, s, _ := strings.Cut(string(b), " ")
	return v == version && (s == step || s == levelled)
}

// Raised is the version of a decision that asks for more copies than before, once all nodes have applied it: then each owner has to take from the
// others what they have acknowledged without it. "" means that there is nothing to do.
func (c *Cluster) Raised() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, v := c.level(), c.View()
	if l.Version == "" || l.Held == l.Write || v.Self < 0 || !c.all(l.Version, applied) {
		return ""
	}
	return l.Version
}

// Levelled says that this node has, of the partitions that it owns, all that was acknowledged before a decision. When all have said it, each copy has
// everything that the decision says it has.
func (c *Cluster) Levelled(_ context.Context, version string) error {
	return c.update("level", func() (records []merkle.Record, err error) {
		l, v := c.level(), c.View()
		if l.Version != version || l.Held == l.Write || v.Self < 0 {
			return nil, nil
		}
		if !c.took(c.identity.ID, version, levelled) {
			if records, err = one(c.set.Put(c.now(), levelPrefix+c.identity.ID, []byte(version+" "+levelled))); err != nil {
				return nil, err
			}
		}
		for i, m := range v.Members {
			if !c.took(m.ID, version, applied) || v.Ring.Owned(i).Len() > 0 && !c.took(m.ID, version, levelled) {
				return records, nil
			}
		}
		r, err := c.hold(l.Write, "")
		if err != nil {
			return records, err
		}
		c.log.Info("all owners have what was acknowledged before the write consistency was raised", "consistency", l.Write)
		return append(records, r), nil
	})
}
