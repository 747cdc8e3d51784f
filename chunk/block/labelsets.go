package block

import "fmt"

// marked returns what is noted of the last marked series that is not behind one: its first row, and the bytes from it to the next
// marked one in secCounts or secLabels, by the place of theirs in a mark.
func (x *index) marked(ord uint32, sec, place int) (row uint32, b []byte) {
	i := int(ord / markEvery)
	m, from, to := x.sec[secMarks][markSize*i:], markSize*i, min(markSize*(i+2), len(x.sec[secMarks]))
	if !x.sureOf(secMarks, uint32(from), uint32(to)) {
		return 0, nil
	}
	at, end := le32(m[place:]), uint32(len(x.sec[sec]))
	if len(m) > markSize {
		end = le32(m[markSize+place:])
	}
	if at > end || end > uint32(len(x.sec[sec])) || !x.sureOf(sec, at, end) {
		return 0, nil
	}
	return le32(m[4:]), x.sec[sec][at:end]
}

// rowsOf returns the rows [from, to) of a series.
func (x *index) rowsOf(ord uint32) (from, to uint32) {
	if ord >= x.series {
		return 0, 0
	}
	row, b := x.marked(ord, secCounts, 0)
	for range ord%markEvery + 1 {
		n, w := uvarint32(b)
		if w == 0 || n > x.rows || row > x.rows-n {
			return 0, 0
		}
		b = b[w:]
		from, row = row, row+n
	}
	return from, row
}

// set returns the pairs of a series, as uvarints.
func (x *index) set(ord uint32) []byte {
	if ord >= x.series {
		return nil
	}
	_, b := x.marked(ord, secLabels, 8)
	for skip := ord % markEvery; ; skip-- {
		n, w := uvarint32(b)
		b = b[w:]
		if w == 0 || uint64(n) > uint64(len(b)) {
			return nil
		}
		end := 0
		for ; n > 0 && end < len(b); end++ {
			if b[end] < 0x80 {
				n--
			}
		}
		if n > 0 {
			return nil
		}
		if skip == 0 {
			return b[:end]
		}
		b = b[end:]
	}
}

// pairOf returns the pair of a series within [from, to): its label of one name.
func (x *index) pairOf(ord, from, to uint32) (uint32, bool) {
	b := x.set(ord)
	for len(b) > 0 {
		p, w := uvarint32(b)
		if w == 0 || p >= to {
			return 0, false
		}
		if p >= from {
			return p, true
		}
		b = b[w:]
	}
	return 0, false
}

// each calls f with every label of a series, in order. The value lies in the map.
func (x *index) each(ord uint32, f func(name int, value []byte)) error {
	if ord >= x.series {
		return fmt.Errorf("there is no series %d", ord)
	}
	b := x.set(ord)
	for len(b) > 0 {
		p, w := uvarint32(b)
		if w == 0 || p >= x.pairs {
			return errIndex
		}
		f(x.nameAt(p), x.value(p))
		b = b[w:]
	}
	return nil
}
