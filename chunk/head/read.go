package head

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// Chunks appends the chunks of a series that overlap [mint, maxt] (ms, inclusive) to dst, by
// MinTime. They may overlap each other where samples came late. Their data is the
// caller's.
func (m *Memtable) Chunks(dst []chunk.Chunk, ref Ref, mint, maxt int64) ([]chunk.Chunk, error) {
	var buf []byte
	return m.scan(dst, &buf, ref, mint, maxt, nil, true)
}

// Scan is Chunks with data only where need says so of a chunk's times. Chunks that come with data have
// no statistics but their times and counts, so that open chunks, which have none yet, are not decoded for them.
// Their data is appended to buf.
func (m *Memtable) Scan(dst []chunk.Chunk, buf *[]byte, ref Ref, mint, maxt int64, need chunk.Need) ([]chunk.Chunk, error) {
	return m.scan(dst, buf, ref, mint, maxt, need, false)
}

func (m *Memtable) scan(dst []chunk.Chunk, buf *[]byte, ref Ref, mint, maxt int64, need chunk.Need, measured bool) ([]chunk.Chunk, error) {
	p := m.page(ref)
	if p == nil {
		return m.histogramChunks(dst, ref, mint, maxt)
	}
	from := len(dst)
	p.mu.Lock()
	dst, open, late := m.copied(dst, buf, p.entry(ref), mint, maxt, need)
	p.mu.Unlock()
	if open.Samples > 0 && open.MinTime <= maxt {
		unwanted := need != nil && !need(0, open.MinTime, open.MaxTime)
		if measured || unwanted {
			stats, err := open.Measure()
			if err != nil {
				return nil, err
			}
			open.Stats = stats
		}
		if unwanted {
			open.Data = nil
		}
		dst = append(dst, open)
	}
	dst, err := appendLate(dst, late)
	if err != nil {
		return nil, err
	}
	if dst, err = m.histogramChunks(dst, ref, mint, maxt); err != nil {
		return nil, err
	}
	sortByTime(dst[from:])
	return dst, nil
}

func sortByTime(cs []chunk.Chunk) {
	slices.SortStableFunc(cs, func(a, b chunk.Chunk) int { return cmp.Compare(a.MinTime, b.MinTime) })
}

func appendLate(dst []chunk.Chunk, late []series.Sample) ([]chunk.Chunk, error) {
	if len(late) == 0 {
		return dst, nil
	}
	return chunk.Encode(dst, chunk.Slice(settle(late)))
}

// copied appends the closed chunks of an entry to dst, and returns a copy of what is open and of what came late. The caller holds
// the page's lock.
func (m *Memtable) copied(dst []chunk.Chunk, buf *[]byte, e *entry, mint, maxt int64, need chunk.Need) (_ []chunk.Chunk, open chunk.Chunk, late []series.Sample) {
	from := len(dst)
	for i := e.closed; i != 0; {
		c := m.closed.at(i)
		if c.MaxTime < mint {
			break // what is late is not among them: each ends before the next begins
		}
		if c.MinTime <= maxt {
			out := chunk.Chunk{Stats: c.Stats, Encoding: chunk.XOR}
			if need == nil || need(0, c.MinTime, c.MaxTime) {
				out.Data = m.bytes(grown(buf, sizeOf(c.words, c.nacc)), uint16(c.Samples), c.words, c.head, c.acc, c.nacc)
			}
			dst = append(dst, out)
		}
		i = c.prev
	}
	slices.Reverse(dst[from:])
	if e.count > 0 && e.t >= mint {
		open = m.open(buf, e)
	}
	if e.nLate > 0 {
		late = m.lateSamples(e, mint, maxt)
	}
	return dst, open, late
}

// open copies the open chunk of an entry, with its times and count.
func (m *Memtable) open(buf *[]byte, e *entry) chunk.Chunk {
	c := chunk.Chunk{Stats: chunk.NoStats(), Encoding: chunk.XOR}
	c.Data = m.bytes(grown(buf, sizeOf(e.words, e.nacc)), e.count, e.words, e.head, e.acc, e.nacc)
	c.MinTime, _ = binary.Varint(c.Data[2:]) // the first time stands behind the count
	c.MaxTime, c.Samples = e.t, uint64(e.count)
	return c
}

// grown takes n bytes of a buffer, and makes a new one when they are not there: what was taken before stays.
func grown(buf *[]byte, n int) []byte {
	if cap(*buf)-len(*buf) < n {
		*buf = make([]byte, 0, max(n, 2*cap(*buf)))
	}
	from := len(*buf)
	*buf = (*buf)[:from+n]
	return (*buf)[from : from : from+n]
}

// Any reports whether there certainly is a sample of a series in [mint, maxt], without reading any: false says nothing.
func (m *Memtable) Any(ref Ref, mint, maxt int64) bool {
	p := m.page(ref)
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.entry(ref)
	return e.count > 0 && mint <= e.t && e.t <= maxt
}

// lateSamples copies the late samples of an entry in [mint, maxt].
func (m *Memtable) lateSamples(e *entry, mint, maxt int64) []series.Sample {
	var late []series.Sample
	n := (e.nLate-1)%latePiece + 1
	for at := e.late; at != 0; n = latePiece {
		p := m.pieces.at(at)
		for i := range n {
			if t := int64(p.words[2*i]); mint <= t && t <= maxt {
				late = append(late, series.Sample{T: t, V: math.Float64frombits(p.words[2*i+1])})
			}
		}
		at = p.next
	}
	return late
}

// settle sorts samples by time and keeps one at each, by the rule of package chunk.
func settle(late []series.Sample) []series.Sample {
	sort.Slice(late, func(i, j int) bool { return late[i].T < late[j].T })
	out := late[:1]
	for _, s := range late[1:] {
		if last := &out[len(out)-1]; last.T == s.T {
			last.V = chunk.Prefer(last.V, s.V)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// Has reports whether there may be samples of a series.
func (m *Memtable) Has(ref Ref) bool {
	if p := m.page(ref); p != nil {
		p.mu.Lock()
		e := p.entry(ref)
		has := e.count > 0 || e.closed != 0 || e.nLate > 0
		p.mu.Unlock()
		if has {
			return true
		}
	}
	m.histMu.Lock()
	defer m.histMu.Unlock()
	return m.hists[ref] != nil
}
