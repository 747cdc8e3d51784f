package repair

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// maxReads is how many windows are read at once for pieces: it is the one answer that costs reading samples.
const maxReads = 2

// piecesDuty is the part of its time that reading them works: nobody waits for it but another node, and that not for long.
const piecesDuty = 0.5

// everything matches every series: they all have a name.
var everything = labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "")

// pieces reads what this node has in the time of a question and digests it piece by piece.
func (r *Repairer) pieces(ctx context.Context, q Question) ([]Piece, error) {
	out := make([]Piece, q.pieces())
	if len(out) == 0 {
		return out, nil
	}
	select {
	case r.reads <- struct{}{}:
		defer func() { <-r.reads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	db, err := r.store.Querier(q.Mint, q.Maxt-1)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	hints := &storage.SelectHints{Start: q.Mint, End: q.Maxt - 1}
	set := db.Select(shard.Within(ctx, q.Parts), false, hints, everything)
	var (
		it  chunkenc.Iterator
		d   chunk.Digester
		key []byte
	)
	cycle := duty.Cycle{Now: r.o.Now, Wait: r.rest}
	for set.Next() {
		cycle.Rest(ctx, piecesDuty)
		s := set.At()
		key = series.AppendKey(key[:0], s.Labels())
		id := series.HashKey(key)
		it = s.Iterator(it)
		for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
			t := it.AtT()
			if t < q.Mint || t >= q.Maxt {
				continue
			}
			p := &out[(t-q.Mint)/pieceMillis]
			p.Samples++
			p.Digest += sampleDigest(&d, id, t, vt, it)
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, set.Err()
}

// rest is wait for one who looks at the context itself.
func (r *Repairer) rest(ctx context.Context, d time.Duration) { _ = r.wait(ctx, d) }

// sampleDigest is the low half of the digest of the sample at which an iterator stands; the low half of a sum is the sum of the low halves.
func sampleDigest(d *chunk.Digester, id series.ID, t int64, vt chunkenc.ValueType, it chunkenc.Iterator) uint64 {
	switch vt {
	case chunkenc.ValHistogram:
		_, h := it.AtHistogram(nil)
		return d.Histogram(id, series.Histogram{T: t, Int: h}).Lo
	case chunkenc.ValFloatHistogram:
		_, h := it.AtFloatHistogram(nil)
		return d.Histogram(id, series.Histogram{T: t, Float: h}).Lo
	}
	_, v := it.At()
	return series.SampleDigest(id, t, v).Lo
}

// run is a time in which two nodes have different samples, ms.
type run struct {
	mint, maxt  int64 // [mint, maxt)
	ours, peers uint64
}

// maxRuns is into how many requests a window falls at most.
const maxRuns = 8

// runs returns where the peer has other samples than this node and has some at all.
func runs(q Question, ours, peers []Piece) []run {
	var out []run
	for i := range peers {
		if peers[i] == ours[i] || peers[i].Samples == 0 {
			continue
		}
		mint := q.Mint + int64(i)*pieceMillis
		maxt := min(mint+pieceMillis, q.Maxt)
		if n := len(out); n > 0 && out[n-1].maxt == mint {
			out[n-1].maxt = maxt
			out[n-1].ours += ours[i].Samples
			out[n-1].peers += peers[i].Samples
			continue
		}
		out = append(out, run{mint, maxt, ours[i].Samples, peers[i].Samples})
	}
	for len(out) > maxRuns {
		out = joinNearest(out)
	}
	return out
}

// joinNearest makes one run of the two that lie nearest to each other.
func joinNearest(rs []run) []run {
	best := 1
	for i := 2; i < len(rs); i++ {
		if rs[i].mint-rs[i-1].maxt < rs[best].mint-rs[best-1].maxt {
			best = i
		}
	}
	a, b := rs[best-1], rs[best]
	rs[best-1] = run{a.mint, b.maxt, a.ours + b.ours, a.peers + b.peers}
	return append(rs[:best], rs[best+1:]...)
}
