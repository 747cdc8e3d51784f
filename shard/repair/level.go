package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/minitrue/minitrue/shard"
)

// raised is what this node has done for a decision by which writes are with more owners than before.
type raised struct {
	decision string // "": there is none
	since    int64  // when this node first saw that no write goes by the one before any more, ms
	copied   bool
}

// level takes from the other owners what was acknowledged before a decision and is not here. One walk is enough, as in gain: all writes since
// come here by themselves. While the ring changes it waits: what this node gains then, gain copies.
func (r *Repairer) level(ctx context.Context, v *shard.View) error {
	d := &r.raised
	if now := r.o.Raised(); now != d.decision {
		*d = raised{decision: now, since: r.now()}
	}
	if d.decision == "" {
		return nil
	}
	if !d.copied {
		if r.now()-d.since < r.o.Grace.Milliseconds() {
			return errors.New("raise the write consistency: writes by the one before may still be on their way")
		}
		if err := r.copyAll(ctx, v, r.places.get(v.Ring, owned, v.Self), r.o.Sources); err != nil {
			return fmt.Errorf("raise the write consistency: %w", err)
		}
		d.copied = true
	}
	return r.o.Levelled(ctx, d.decision)
}
