package vector

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
)

// An answer of a node to another is a byte that says what it is, and if that is rows:
//
//	┌───────────────┬─────────┬─────────────────────────────────────────────┐
//	│ 1: the metric │ uvarint │ uvarint │ labels │ v of │ c of    │ n of    │ …
//	│ had points    │ steps   │ length  │        │ each │ SUM and │ AVG,    │
//	│               │         │         │        │ step │ AVG     │ uvarint │
//	└───────1───────┴─────────┴─────────┴────────┴──8───┴─────────┴─────────┘
//
// a row for each group that has points. Before c is a byte: 0, when it is zero at all steps and not there, or 1. The rows of topk and bottomk
// are series, with a number of points, each of which is the distance of its step from the one before (uvarint) and its value (8).
const (
	answerRows     = 0
	answerUnfit    = 1 // Prometheus's engine is to evaluate it
	answerTogether = 2 // it is to be evaluated over all series at once
	answerMany     = 3 // it takes more samples than a query may hold
)

// cellBytes is what a step of a row takes in an answer.
func (p *plan) cellBytes() int {
	switch p.agg {
	case parser.SUM:
		return 16
	case parser.AVG:
		return 18
	}
	return 8
}

// share is what some series of a plan come to: a sum, or tops.
type share interface {
	appendTo(b []byte) []byte // rows
}

// nothing is what no series come to.
func (p *plan) nothing() share {
	if p.k > 0 {
		return &tops{}
	}
	return &sum{partial: newPartial(p.agg, 0, p.grid.n)}
}

// encode makes an answer of a share.
func (p *plan) encode(s share, n *names) []byte {
	b := []byte{answerRows, 0}
	if len(n.seen) > 0 {
		b[1] = 1
	}
	return s.appendTo(binary.AppendUvarint(b, uint64(p.grid.n)))
}

func (s *sum) appendTo(b []byte) []byte {
	var key []byte
	for g, first := range s.first {
		if first < 0 {
			continue
		}
		b, key = appendLabels(b, key, s.labels[g])
		from, to := g*s.steps, (g+1)*s.steps
		b = appendFloats(b, s.v[from:to])
		if s.c != nil {
			b = appendRest(b, s.c[from:to])
		}
		if s.n != nil {
			for _, x := range s.n[from:to] {
				b = binary.AppendUvarint(b, uint64(x))
			}
		}
	}
	return b
}

func (t *tops) appendTo(b []byte) []byte {
	var key []byte
	for i, points := range t.points {
		b, key = appendLabels(b, key, t.labels[i])
		b = binary.AppendUvarint(b, uint64(len(points)))
		last := int32(0)
		for _, x := range points {
			b = binary.AppendUvarint(b, uint64(x.step-last))
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x.v))
			last = x.step
		}
	}
	return b
}

// appendLabels appends labels, for which it uses the memory of key again.
func appendLabels(b, key []byte, ls labels.Labels) (out, scratch []byte) {
	key = series.AppendKey(key[:0], ls)
	return append(binary.AppendUvarint(b, uint64(len(key))), key...), key
}

func appendFloats(b []byte, column []float64) []byte {
	for _, x := range column {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

// appendRest appends a column that is mostly zero.
func appendRest(b []byte, column []float64) []byte {
	for _, x := range column {
		if math.Float64bits(x) != 0 {
			return appendFloats(append(b, 1), column)
		}
	}
	return append(b, 0)
}

var errAnswer = errors.New("the answer of another node is malformed")

// decode reads the answer of another node to a plan. Nothing of it is believed. What it takes in memory is in proportion to its bytes.
func (p *plan) decode(b []byte) (s share, seen bool, err error) {
	u := unpacker{b: b}
	switch u.byte() {
	case answerRows:
	case answerUnfit:
		return nil, false, errUnfit
	case answerTogether:
		return nil, false, errTogether
	case answerMany:
		return nil, false, prom.ErrTooManySamples("query execution")
	default:
		return nil, false, errAnswer
	}
	flag := u.byte()
	if steps := u.uvarint(); u.bad || flag > 1 || steps != uint64(p.grid.n) {
		return nil, false, errAnswer
	}
	if p.k > 0 {
		s = u.tops(p)
	} else {
		s = u.sum(p)
	}
	if u.bad {
		return nil, false, errAnswer
	}
	return s, flag == 1, nil
}

func (u *unpacker) sum(p *plan) *sum {
	s := &sum{partial: newPartial(p.agg, 0, p.grid.n)}
	for len(u.b) > 0 {
		ls := u.labels()
		if len(u.b) < 8*s.steps {
			u.bad = true
			break
		}
		row := len(s.labels)
		s.labels = append(s.labels, ls)
		s.grow()
		s.first[row] = int32(row)
		u.row(s.partial, row)
	}
	return s
}

func (u *unpacker) tops(p *plan) *tops {
	t := &tops{}
	for len(u.b) > 0 {
		ls := u.labels()
		n := u.uvarint()
		if n == 0 || n > uint64(len(u.b)/9) {
			u.bad = true
			break
		}
		points := make([]point, n)
		at := uint64(0)
		for i := range points {
			d := u.uvarint()
			if at += d; i > 0 && d == 0 || d >= uint64(p.grid.n) || at >= uint64(p.grid.n) {
				u.bad = true
				break
			}
			points[i].step = int32(at)
			if b := u.take(8); b != nil {
				points[i].v = math.Float64frombits(binary.LittleEndian.Uint64(b))
			}
			u.bad = u.bad || isAbsent(points[i].v)
		}
		t.labels, t.points = append(t.labels, ls), append(t.points, points)
		if u.bad {
			break
		}
	}
	return t
}

// row reads the columns of a row.
func (u *unpacker) row(p *partial, row int) {
	from, to := row*p.steps, (row+1)*p.steps
	u.floats(p.v[from:to])
	if p.c != nil {
		switch u.byte() {
		case 0:
		case 1:
			u.floats(p.c[from:to])
		default:
			u.bad = true
		}
	}
	if p.n == nil {
		return
	}
	for k := from; k < to; k++ {
		n := u.uvarint()
		if isAbsent(p.v[k]) != (n == 0) || n > 1<<32 {
			u.bad = true
		}
		p.n[k] = float64(n)
	}
}

// unpacker takes bytes apart from the front; after the first that is missing or wrong, bad is set.
type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) uvarint() uint64 {
	x, n := binary.Uvarint(u.b)
	if n <= 0 {
		u.bad, u.b = true, nil
		return 0
	}
	u.b = u.b[n:]
	return x
}

func (u *unpacker) take(n uint64) []byte {
	if n > uint64(len(u.b)) {
		u.bad, u.b = true, nil
		return nil
	}
	b := u.b[:n]
	u.b = u.b[n:]
	return b
}

func (u *unpacker) byte() byte {
	if b := u.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (u *unpacker) floats(column []float64) {
	if b := u.take(8 * uint64(len(column))); b != nil {
		for i := range column {
			column[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		}
	}
}

const maxLabel = 1 << 20 // bytes

// labels reads labels, which must be sorted and not empty.
func (u *unpacker) labels() labels.Labels {
	var sb labels.ScratchBuilder
	last := ""
	err := series.EachLabel(u.take(u.uvarint()), func(name, value string) {
		if name <= last || value == "" || len(name) > maxLabel || len(value) > maxLabel {
			u.bad = true
		}
		last = name
		if !u.bad {
			sb.Add(name, value)
		}
	})
	u.bad = u.bad || err != nil
	return sb.Labels()
}
