package gossip

import (
	"strconv"
	"strings"
	"time"

	"github.com/minitrue/minitrue/shard/merkle"
)

const (
	sweptAge = 45 * 24 * time.Hour // records of deletes are swept when they are so old; what they say is taken back after 30 days
	sweptDay = 24 * time.Hour      // how often

	spared      = 4096 // records that deletes leave room for
	sparedBytes = 2 << 20
)

// sweep decides from when on there are records of deletes, also of those that were taken back: else they would be more and more. Of those that see
// that it is time, the first that is up does it. That it is a record makes it the same for all, whatever their clocks say.
func (c *Cluster) sweep() error {
	if !c.first(c.View()) {
		return nil
	}
	return c.update("sweep", func() ([]merkle.Record, error) {
		before := c.o.Now().Add(-sweptAge).Truncate(sweptDay).UnixMilli()
		if before <= c.swept() || c.set.Older(DeletePrefix, versionOf(before)) == 0 {
			return nil, nil
		}
		return one(c.set.Put(c.now(), sweptBefore, []byte(strconv.FormatInt(before, 10))))
	})
}

// swept is from when on (Unix ms) there are records of deletes. The caller holds mu.
func (c *Cluster) swept() int64 {
	b, _ := c.set.Get(sweptBefore)
	ms, _ := strconv.ParseInt(string(b), 10, 64)
	return max(0, ms)
}

func versionOf(ms int64) uint64 { return uint64(ms) << 16 }

// unswept are records without those that are swept. The caller holds mu.
func (c *Cluster) unswept(records []merkle.Record) []merkle.Record {
	before, out := versionOf(c.swept()), records[:0:0]
	for _, r := range records {
		if r.Version >= before || !strings.HasPrefix(r.Key, DeletePrefix) {
			out = append(out, r)
		}
	}
	return out
}
