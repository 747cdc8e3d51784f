package cluster

import (
	"slices"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Buckets stand for samples that are no longer kept. They are numbers only, so replicas of them cannot be united as samples can: where
// any replica has samples these are read, and before the first of them the buckets of one replica, that which counts
// the most samples.

// coarseChunks appends the buckets of a series, each as a chunk without data, and the chunks of the samples after them to dst.
func coarseChunks(dst []chunk.Chunk, sel Selection, i int, buf *[]byte) ([]chunk.Chunk, error) {
	from := len(dst)
	dst, err := sel.Chunks(dst, buf, i, chunk.NeedNone)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(dst[from:], isSamples)
	if n < 0 {
		return dst, nil
	}
	since := dst[from+n].MinTime
	dst = dst[:from+n]
	all, err := sel.Chunks(nil, buf, i, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.MinTime >= since {
			dst = append(dst, c)
		}
	}
	return dst, nil
}

func isSamples(c chunk.Chunk) bool { return c.Encoding != chunk.Downsampled }

// coarsely is Chunks where there are buckets.
func (m *merged) coarsely(dst []chunk.Chunk, buf *[]byte, r *row, need chunk.Need) ([]chunk.Chunk, error) {
	var lists [][]chunk.Chunk
	if r.local.in >= 0 {
		cs, err := coarseChunks(nil, m.locals[r.local.in], int(r.local.i), buf)
		if err != nil {
			return nil, err
		}
		lists = append(lists, cs)
	}
	m.places(r, func(s *scanned, i int) { lists = append(lists, s.chunksOf(i)) })
	buckets, samples := bucketsAndSamples(lists)
	var err error
	for i := range buckets {
		if dst, err = m.bucket(dst, buckets[i].Stats, need); err != nil {
			return nil, err
		}
	}
	from := len(dst)
	if dst, err = settle(dst, samples); err != nil {
		return nil, err
	}
	return dst, strip(dst[from:], need)
}

// bucketsAndSamples takes the buckets of one list, and the samples of all.
func bucketsAndSamples(lists [][]chunk.Chunk) (buckets, samples []chunk.Chunk) {
	first := never
	for _, cs := range lists {
		for _, c := range cs {
			if isSamples(c) {
				samples = append(samples, c)
				first = min(first, c.MinTime)
			}
		}
	}
	most := uint64(0)
	for _, cs := range lists {
		var own []chunk.Chunk
		n := uint64(0)
		for _, c := range cs {
			if !isSamples(c) && c.MaxTime < first {
				own = append(own, c)
				n += c.Samples
			}
		}
		if n > most {
			most, buckets = n, own
		}
	}
	return buckets, samples
}

// bucket appends a bucket as the store does: as a sample where data is wanted.
func (m *merged) bucket(dst []chunk.Chunk, s chunk.Stats, need chunk.Need) ([]chunk.Chunk, error) {
	if need == nil || s.MinTime < m.mint || need(0, s.MinTime, s.MaxTime) {
		s.MinTime = s.MaxTime
	}
	if need == nil || need(0, s.MinTime, s.MaxTime) {
		return chunk.Encode(dst, chunk.Slice([]series.Sample{{T: s.MaxTime, V: s.Last}}))
	}
	return append(dst, chunk.Chunk{Stats: s, Encoding: chunk.Downsampled}), nil
}
