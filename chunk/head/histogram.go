package head

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
)

// histograms are the native histograms of one series: few series have any, so they
// lie in Go's heap. Those that came in order are in chunks already; a chunk is
// closed by the next window, by its size, or by a reset.
type histograms struct {
	enc  chunk.Encoder
	last int64
	any  bool
	late []series.Histogram
}

// openBytes is about how much memory an open chunk takes beside its bytes, for each bucket and span.
const openBytes = 24

// AppendHistogram adds a histogram, which it copies.
func (m *Memtable) AppendHistogram(ref Ref, h series.Histogram) error {
	p := m.makePage(ref)
	p.mu.Lock()
	defer p.mu.Unlock()
	m.note(chunk.Window(h.T), m.registry.Partition(ref))
	if err := m.addHistogram(ref, h); err != nil {
		return err
	}
	m.registry.sumHistogram(ref, h)
	return nil
}

func (m *Memtable) addHistogram(ref Ref, h series.Histogram) error {
	m.histMu.Lock()
	defer m.histMu.Unlock()
	s := m.hists[ref]
	if s == nil {
		s = &histograms{}
		m.hists[ref] = s
		m.histBytes.Add(int64(unsafe.Sizeof(*s)) + openBytes*int64(h.Size()))
	}
	m.samples.Add(1)
	m.widen(h.T, h.T)
	if h.Int != nil {
		h.Int = h.Int.Copy() // appending may change it
	} else {
		h.Float = h.Float.Copy()
	}
	if s.any && h.T <= s.last {
		s.late = append(s.late, h)
		m.histBytes.Add(int64(unsafe.Sizeof(h)+unsafe.Sizeof(*h.Float)) + 8*int64(h.Size()))
		return nil
	}
	s.any, s.last = true, h.T
	before := s.enc.Size()
	defer func() { m.histBytes.Add(int64(s.enc.Size() - before)) }()
	if h.Int != nil {
		return s.enc.Histogram(h.T, h.Int)
	}
	return s.enc.FloatHistogram(h.T, h.Float)
}

// histogramChunks appends the histogram chunks of a series to dst. They may overlap each other where some came late.
func (m *Memtable) histogramChunks(dst []chunk.Chunk, ref Ref, mint, maxt int64) ([]chunk.Chunk, error) {
	m.histMu.Lock()
	defer m.histMu.Unlock()
	s := m.hists[ref]
	if s == nil {
		return dst, nil
	}
	from := len(dst)
	for _, c := range s.enc.Chunks() {
		if c.MaxTime >= mint && c.MinTime <= maxt {
			c.Data = append([]byte(nil), c.Data...)
			dst = append(dst, c)
		}
	}
	dst, err := s.lateChunks(dst, mint, maxt)
	if err != nil {
		return nil, err
	}
	sortByTime(dst[from:])
	return dst, nil
}

// lateChunks appends the chunks of late histograms in [mint, maxt] to dst: those of the first at each time, those of the second, and so on. So they are
// few, and whoever reads them merges few at a time.
func (s *histograms) lateChunks(dst []chunk.Chunk, mint, maxt int64) ([]chunk.Chunk, error) {
	var late []series.Histogram
	for _, h := range s.late {
		if mint <= h.T && h.T <= maxt {
			late = append(late, h)
		}
	}
	slices.SortStableFunc(late, func(a, b series.Histogram) int { return cmp.Compare(a.T, b.T) })
	var layers []chunk.Encoder
	layer := 0
	for i, h := range late {
		if layer++; i == 0 || late[i-1].T < h.T {
			layer = 0
		}
		if layer == len(layers) {
			layers = append(layers, chunk.Encoder{})
		}
		var err error
		if h.Int != nil {
			err = layers[layer].Histogram(h.T, h.Int.Copy())
		} else {
			err = layers[layer].FloatHistogram(h.T, h.Float.Copy())
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range layers {
		dst = append(dst, layers[i].Chunks()...)
	}
	return dst, nil
}
