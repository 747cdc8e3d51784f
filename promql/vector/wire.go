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
// a row for each group that has points. Before c is a byte: 0, when it is zero at all steps and not there, or 1.
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

func (s *sum) encode(n *names) []byte {
	b := []byte{answerRows, 0}
	if len(n.seen) > 0 {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(s.steps))
	var key []byte
	for g, first := range s.first {
		if first < 0 {
			continue
		}
		key = series.AppendKey(key[:0], s.labels[g])
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
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

// decodeSum reads the answer of another node to a plan. Nothing of it is believed. What it takes in memory is in proportion to its bytes.
func (p *plan) decodeSum(b []byte) (s *sum, seen bool, err error) {
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
	s = &sum{partial: newPartial(p.agg, 0, p.grid.n)}
	for len(u.b) > 0 {
		ls := u.labels()
		if u.bad || len(u.b) < 8*s.steps {
			return nil, false, errAnswer
		}
		row := len(s.labels)
		s.labels = append(s.labels, ls)
		s.grow()
		s.first[row] = int32(row)
		u.row(s.partial, row)
	}
	if u.bad {
		return nil, false, errAnswer
	}
	return s, flag == 1, nil
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
