package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// metadataTimeout is how long other nodes may take for metadata, which is an ornament.
const metadataTimeout = 5 * time.Second

// Metadata calls yield for every metric family that is described, by name. All nodes are told of metadata: so this node's
// is the rule, and others add what it has missed. Nodes that do not answer are left out.
func (r *Reader) Metadata(yield func(series.Metadata) bool) {
	v := r.members.View()
	if v.Alone() {
		r.local.Metadata(yield)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), metadataTimeout)
	defer cancel()
	b := &budget{max: r.o.MaxBytes}
	theirs := make([][]series.Metadata, len(v.Members))
	var wg sync.WaitGroup
	for i, m := range v.Members {
		if i == v.Self || !m.Up {
			continue
		}
		wg.Go(func() {
			var all []series.Metadata
			err := r.stream(ctx, m, pathMetadata, &request{parts: &shard.Set{}}, func() {}, func(payload []byte) (err error) {
				all, err = parseMetadata(all, payload, b)
				return err
			})
			if err != nil {
				r.failed(v, i, "metadata", err)
				return
			}
			theirs[i] = all
		})
	}
	byFamily := map[string]series.Metadata{}
	r.local.Metadata(func(m series.Metadata) bool {
		byFamily[m.Family] = m
		return true
	})
	wg.Wait()
	for _, all := range theirs {
		for _, m := range all {
			if _, ok := byFamily[m.Family]; !ok {
				byFamily[m.Family] = m
			}
		}
	}
	for _, f := range slices.Sorted(maps.Keys(byFamily)) {
		if !yield(byFamily[f]) {
			return
		}
	}
}

// metadata answers with what this node knows of metric families: four strings each, with their lengths before them.
func (h *ReadHandlers) metadata(_ context.Context, w *answerWriter, _ *request) (err error) {
	var buf []byte
	h.local.Metadata(func(m series.Metadata) bool {
		for _, s := range []string{m.Family, string(m.Type), m.Unit, m.Help} {
			buf = appendString(buf, s)
		}
		if len(buf) >= frameBytes {
			err = w.Write(buf)
			buf = buf[:0]
		}
		return err == nil
	})
	if err != nil || len(buf) == 0 {
		return err
	}
	return w.Write(buf)
}

var errMetadata = errors.New("the metadata is malformed")

const metadataBytes = 128 // of memory, beside its texts

// parseMetadata appends the metadata of a frame. Nothing of it is believed.
func parseMetadata(all []series.Metadata, payload []byte, b *budget) ([]series.Metadata, error) {
	u := unpacker{b: payload}
	for len(u.b) > 0 {
		before := len(u.b)
		m := series.Metadata{Family: string(u.bytes()), Type: model.MetricType(u.bytes()), Unit: string(u.bytes()), Help: string(u.bytes())}
		if u.bad || m.Family == "" {
			return nil, errMetadata
		}
		if err := b.take(int64(before-len(u.b)) + metadataBytes); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
