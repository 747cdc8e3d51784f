package cluster

import (
	"slices"
	"sort"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// split is how one batch is divided among nodes. Its memory is used again by another batch.
type split struct {
	keys    [][]byte    // of the series, as they are sent
	ids     []series.ID // of the series that are sent
	routes  *routes
	knows   []uint8 // a bit for each writer of the route that knows the series
	route   []int32 // of the series, by index in routes.all; none: it is not sent
	order   []int32 // the series that are sent, those of one route beside each other
	starts  []int32 // where the series of a route start in order
	parcels []parcel
	pieces  []int32 // the series in all parcels, one after another
	plain   []byte  // the encoded parcels, one after another
	brief   []byte  // the series that are sent by their ids alone, those of one parcel beside each other
	briefs  []int32 // which these are
	// the time of the last sample in brief
	briefTime int64
	more      []byte    // exemplars and histograms of the series at hand
	byNode    [][]int32 // the parcels that each node gets
	gather    []byte
	// the parcels compressed, if each is by itself, one after another
	squeezed []byte

	local   series.Batch // what this node stores
	localOf []int32      // its series' indexes in the batch
}

const none = -1

// parcel is encoded series of one route, or metadata, which has none. Guarded by the shipment's mutex while it is under way.
type parcel struct {
	route      *route // nil: nobody waits for it
	from, to   int    // in split.plain
	zfrom, zto int    // in split.squeezed
	first, end int    // in split.pieces
	samples    int

	// What of it is in split.brief and split.briefs: series that all who get it know. They are no pieces.
	bfrom, bto   int
	bfirst, bend int
	unbrief      int // how many bytes these series have with their keys

	acked, failed nodes   // who has answered, and who will not
	rejected      []int32 // series that some of them did not store
	done          bool
}

const (
	parcelBytes = 4 << 20 // a parcel is closed when it is larger
	bodyBytes   = 8 << 20 // and so is a body, before it is compressed

	// What one piece of a series may have, so that a body stays far below what a node accepts.
	pieceSamples    = 200_000
	pieceExemplars  = 10_000
	pieceHistograms = 1_000
)

var splits = sync.Pool{New: func() any { return new(split) }}

// maxKept is how much memory a split may leave to the next one.
const maxKept = 16 << 20

func (s *split) release() {
	s.local = series.Batch{Series: s.local.Series[:0], Histograms: s.local.Histograms[:0], Exemplars: s.local.Exemplars[:0], IDs: s.local.IDs[:0]}
	clear(s.keys)
	s.routes = nil
	clear(s.parcels)
	clear(s.local.Series[:cap(s.local.Series)])
	clear(s.local.Histograms[:cap(s.local.Histograms)])
	clear(s.local.Exemplars[:cap(s.local.Exemplars)])
	if cap(s.plain)+cap(s.gather)+cap(s.squeezed)+cap(s.brief)+cap(s.more)+64*cap(s.keys) <= maxKept {
		splits.Put(s)
	}
}

// place finds the route of every series, and rejects those that can have none.
func (s *split) place(b *series.Batch, rs *routes, deviceLabel string, lim series.Limits) {
	s.identify(b)
	n := len(b.Series)
	s.route, s.knows = slices.Grow(s.route[:0], n)[:n], slices.Grow(s.knows[:0], n)[:n]
	rs.known.look(s.ids, s.route, s.knows)
	s.starts = slices.Grow(s.starts[:0], len(rs.all)+1)[:len(rs.all)+1]
	clear(s.starts)
	for i, key := range s.keys {
		if key == nil {
			s.route[i] = none
			continue
		}
		if s.route[i] == none && !s.find(b, i, rs, deviceLabel, lim) {
			continue
		}
		s.starts[s.route[i]+1]++
	}
	s.sort()
}

// identify finds the key and the id of every series that brings something.
func (s *split) identify(b *series.Batch) {
	n := len(b.Series)
	s.keys, s.ids = slices.Grow(s.keys[:0], n)[:n], slices.Grow(s.ids[:0], n)[:n]
	h, x := 0, 0 // the next histogram and exemplar
	for i := range b.Series {
		e := &b.Series[i]
		h0, x0 := h, x
		for ; h < len(b.Histograms) && b.Histograms[h].Series <= i; h++ {
		}
		for ; x < len(b.Exemplars) && b.Exemplars[x].Series <= i; x++ {
		}
		if s.keys[i], s.ids[i] = nil, (series.ID{}); e.Bad || e.Count == 0 && h == h0 && x == x0 {
			continue
		}
		if s.keys[i] = e.Key; e.Key == nil {
			s.keys[i] = []byte{}
		}
		s.ids[i] = series.HashKey(e.Key)
	}
}

// find finds the route of a series by its labels, unless the series is rejected.
func (s *split) find(b *series.Batch, i int, rs *routes, deviceLabel string, lim series.Limits) bool {
	key := s.keys[i]
	name, device, good := look(key, deviceLabel)
	if !good {
		if key = tidy(b, i, lim); key == nil {
			return false
		}
		name, device, _ = look(key, deviceLabel)
		s.keys[i], s.ids[i] = key, series.HashKey(key)
	}
	if name != nil && device != nil { // the other labels do not matter
		s.more = append(append(s.more[:0], name...), device...)
		key = s.more
	}
	s.route[i] = int32(rs.of[shard.PartitionOfKey(key, deviceLabel)])
	return true
}

// sort puts the series that are sent in the order of their routes.
func (s *split) sort() {
	for r := 1; r < len(s.starts); r++ {
		s.starts[r] += s.starts[r-1]
	}
	n := int(s.starts[len(s.starts)-1])
	s.order = slices.Grow(s.order[:0], n)[:n]
	for i, r := range s.route {
		if r != none {
			s.order[s.starts[r]] = int32(i)
			s.starts[r]++
		}
	}
}

// encode fills the parcels. briefly says which writers of a route, by a bit for each, have to know a series so that its id is enough;
// none: it never is.
func (s *split) encode(b *series.Batch, rs *routes, briefly func(*route) (writers uint8)) error {
	s.routes = rs
	s.parcels, s.pieces, s.plain, s.brief, s.briefs = s.parcels[:0], s.pieces[:0], s.plain[:0], s.brief[:0], s.briefs[:0]
	if len(b.Metadata) > 0 {
		s.open(nil)
		for i := range b.Metadata {
			var err error
			if s.plain, err = appendMetadata(s.plain, &b.Metadata[i]); err != nil {
				return err
			}
		}
		s.close()
	}
	last, need := int32(none), uint8(0)
	for _, i := range s.order {
		if r := s.route[i]; r != last || s.full() {
			if last != none {
				s.close()
			}
			if s.open(&rs.all[r]); r != last {
				need = briefly(&rs.all[r])
			}
			last = r
		}
		if need != 0 && s.knows[i]&need == need && s.encodeBrief(b, int(i)) {
			continue
		}
		if err := s.encodeSeries(b, int(i)); err != nil {
			return err
		}
	}
	if last != none {
		s.close()
	}
	return nil
}

func (s *split) open(r *route) {
	s.parcels = append(s.parcels, parcel{route: r, from: len(s.plain), first: len(s.pieces), bfrom: len(s.brief), bfirst: len(s.briefs)})
}

// full says whether the open parcel gets no more.
func (s *split) full() bool {
	p := &s.parcels[len(s.parcels)-1]
	return len(s.plain)-p.from+p.unbrief >= parcelBytes
}

func (s *split) close() {
	p := &s.parcels[len(s.parcels)-1]
	p.to, p.end, p.bto, p.bend = len(s.plain), len(s.pieces), len(s.brief), len(s.briefs)
	s.closeBrief(p)
}

// encodeSeries appends a series to the open parcel: one piece, unless it is very large.
func (s *split) encodeSeries(b *series.Batch, i int) error {
	e := &b.Series[i]
	samples := b.Samples[e.First : e.First+e.Count]
	if len(b.Histograms)+len(b.Exemplars) == 0 && len(samples) <= pieceSamples {
		s.piece(i, samples, nil, 0)
		return nil
	}
	return s.eachPiece(b, i, func(samples []series.Sample, more []byte, histograms int) error {
		if s.full() { // never at the first: encode has just looked
			r := s.parcels[len(s.parcels)-1].route
			s.close()
			s.open(r)
		}
		s.piece(i, samples, more, histograms)
		return nil
	})
}

func (s *split) piece(i int, samples []series.Sample, more []byte, histograms int) {
	s.plain = appendSeries(s.plain, s.keys[i], samples, more)
	s.pieces = append(s.pieces, int32(i))
	s.parcels[len(s.parcels)-1].samples += len(samples) + histograms
}

// run is the part of a list, in the order of series, that is of series i.
func run[T any](list []T, i int, of func(*T) int) []T {
	from := sort.Search(len(list), func(j int) bool { return of(&list[j]) >= i })
	n := sort.Search(len(list)-from, func(j int) bool { return of(&list[from+j]) > i })
	return list[from : from+n]
}

func cut[T any](list []T, n int) (first, rest []T) {
	n = min(n, len(list))
	return list[:n], list[n:]
}

// address lists for each of n nodes the parcels that it gets. self's come to it by another way.
func (s *split) address(n, self int) {
	s.byNode = slices.Grow(s.byNode[:0], n)[:n]
	for i := range s.byNode {
		s.byNode[i] = s.byNode[i][:0]
	}
	for j := range s.parcels {
		p := &s.parcels[j]
		if p.route == nil {
			for i := range s.byNode {
				s.byNode[i] = append(s.byNode[i], int32(j))
			}
			continue
		}
		for _, w := range p.route.writers {
			s.byNode[w] = append(s.byNode[w], int32(j))
		}
	}
	if self >= 0 {
		s.byNode[self] = s.byNode[self][:0]
	}
}
