package cluster

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// found is what one node has answered to a scan: this one a selection, another one bytes.
type found struct {
	local  Selection
	remote *scanned
}

func (f found) drop() {
	if f.local != nil {
		f.local.Close()
	}
	if f.remote != nil {
		f.remote.drop()
	}
}

// merged is a Selection of what several nodes have answered. A series may be in several answers; of this node's selections, which
// are of different partitions, it is in one at most.
type merged struct {
	locals     []Selection
	remotes    []*scanned
	rows       []row
	next       []place // of rows, after the first
	coarse     bool
	mint, maxt int64
}

// row is a series.
type row struct {
	local  place
	remote place // the first of its places; the others follow by next
}

// place is where a series is in an answer.
type place struct {
	in   int32 // index of the answer, −1: nowhere
	i    int32 // of the series in it
	next int32 // index of the next place, −1: none
}

var nowhere = place{in: -1, next: -1}

// identified is a Selection that knows the ids of its series.
type identified interface{ ID(i int) series.ID }

// merge makes one selection of all that was found.
func merge(all []found, mint, maxt int64) Selection {
	m := &merged{mint: mint, maxt: maxt}
	for _, f := range all {
		if f.local != nil {
			m.locals = append(m.locals, f.local)
			m.coarse = m.coarse || f.local.Coarse()
		}
		if f.remote != nil {
			m.remotes = append(m.remotes, f.remote)
			m.coarse = m.coarse || f.remote.coarse
		}
	}
	if len(m.remotes) == 0 && len(m.locals) == 1 {
		return m.locals[0]
	}
	known := map[series.ID]int32{}
	for r, s := range m.remotes {
		for i, id := range s.ids {
			m.addRemote(known, id, int32(r), int32(i))
		}
	}
	for l, s := range m.locals {
		m.addLocal(known, int32(l), s)
	}
	return m
}

func (m *merged) addRemote(known map[series.ID]int32, id series.ID, in, i int32) {
	at, ok := known[id]
	if !ok {
		known[id] = int32(len(m.rows))
		m.rows = append(m.rows, row{local: nowhere, remote: place{in, i, -1}})
		return
	}
	first := &m.rows[at].remote
	m.next = append(m.next, place{in, i, first.next})
	first.next = int32(len(m.next) - 1)
}

func (m *merged) addLocal(known map[series.ID]int32, in int32, s Selection) {
	ids, ok := s.(identified)
	var b labels.ScratchBuilder
	var key []byte
	for i := range int32(s.Len()) {
		if len(known) > 0 {
			var id series.ID
			if ok {
				id = ids.ID(int(i))
			} else {
				key = series.AppendKey(key[:0], s.Labels(int(i), &b))
				id = series.HashKey(key)
			}
			if at, ok := known[id]; ok {
				m.rows[at].local = place{in, i, -1}
				continue
			}
		}
		m.rows = append(m.rows, row{local: place{in, i, -1}, remote: nowhere})
	}
}

// places yields where other nodes have a series.
func (m *merged) places(r *row, yield func(s *scanned, i int)) {
	for p := r.remote; p.in >= 0; p = m.next[p.next] {
		yield(m.remotes[p.in], int(p.i))
		if p.next < 0 {
			return
		}
	}
}

// Len implements Selection.
func (m *merged) Len() int { return len(m.rows) }

// Coarse implements Selection.
func (m *merged) Coarse() bool { return m.coarse }

// Labels implements Selection.
func (m *merged) Labels(i int, b *labels.ScratchBuilder) labels.Labels {
	r := &m.rows[i]
	if r.local.in >= 0 {
		return m.locals[r.local.in].Labels(int(r.local.i), b)
	}
	return m.remotes[r.remote.in].labels(int(r.remote.i), b)
}

// AppendValues implements Selection.
func (m *merged) AppendValues(dst []byte, i int, names ...string) []byte {
	r := &m.rows[i]
	if r.local.in >= 0 {
		return m.locals[r.local.in].AppendValues(dst, int(r.local.i), names...)
	}
	return m.remotes[r.remote.in].appendValues(dst, int(r.remote.i), names...)
}

// Err implements Selection.
func (m *merged) Err() error {
	for _, s := range m.locals {
		if err := s.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close implements Selection.
func (m *merged) Close() {
	for _, s := range m.locals {
		s.Close()
	}
	m.locals, m.remotes, m.rows, m.next = nil, nil, nil, nil
}

// Chunks implements Selection.
func (m *merged) Chunks(dst []chunk.Chunk, buf *[]byte, i int, need chunk.Need) ([]chunk.Chunk, error) {
	r := &m.rows[i]
	if m.coarse {
		return m.coarsely(dst, buf, r, need)
	}
	if r.remote.in < 0 {
		return m.locals[r.local.in].Chunks(dst, buf, int(r.local.i), need)
	}
	var few [16]chunk.Chunk
	all := few[:0]
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	m.places(r, func(s *scanned, i int) {
		cs := s.chunksOf(i)
		if len(cs) > 0 {
			lo, hi = min(lo, cs[0].MinTime), max(hi, cs[len(cs)-1].MaxTime)
		}
		all = append(all, cs...)
	})
	if r.local.in >= 0 {
		// What may overlap the chunks of others is wanted with data.
		ours := need
		if need != nil {
			ours = func(serial uint64, mint, maxt int64) bool {
				return need(serial, mint, maxt) || mint <= hi && maxt >= lo
			}
		}
		var err error
		if all, err = m.locals[r.local.in].Chunks(all, buf, int(r.local.i), ours); err != nil {
			return dst, err
		}
	}
	from := len(dst)
	dst, err := settle(dst, all)
	if err != nil {
		return nil, err
	}
	return dst, strip(dst[from:], need)
}

// settle appends the union of the chunks of several replicas to dst, disjoint and in time order. All that overlap others have data. It
// sorts all.
func settle(dst, all []chunk.Chunk) ([]chunk.Chunk, error) {
	slices.SortStableFunc(all, byTime)
	return chunk.Regroup(dst, distinct(all), overlapping)
}

func byTime(a, b chunk.Chunk) int {
	switch {
	case a.MinTime < b.MinTime, a.MinTime == b.MinTime && a.MaxTime < b.MaxTime:
		return -1
	case a.MinTime == b.MinTime && a.MaxTime == b.MaxTime:
		return 0
	}
	return 1
}

// overlapping returns how many of the first chunks overlap each other.
func overlapping(chunks []chunk.Chunk) int {
	n, end := 1, chunks[0].MaxTime
	for n < len(chunks) && chunks[n].MinTime <= end {
		end = max(end, chunks[n].MaxTime)
		n++
	}
	return n
}

// strip takes the data of float chunks away where it is not needed, so that their statistics must do.
func strip(chunks []chunk.Chunk, need chunk.Need) error {
	if need == nil {
		return nil
	}
	for i := range chunks {
		c := &chunks[i]
		if !isFloat(c) || c.Data == nil || need(c.Serial, c.MinTime, c.MaxTime) {
			continue
		}
		if math.IsNaN(c.First) { // those that come with data may lack statistics
			var err error
			if c.Stats, err = c.Measure(); err != nil {
				return err
			}
		}
		c.Times, c.Data = nil, nil
	}
	return nil
}
