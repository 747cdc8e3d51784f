package vector

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// An answer of a node to another:
//
//	┌─────────────┬───────┬──────┬────────┬──────────────────────────────┐
//	│ metric name │ steps │ size │ labels │ v, and c and n as far as the │ …
//	│ 1 + length  │       │ of … │        │ operator has them, 8 bytes   │
//	└─────────────┴───────┴──────┴────────┴──────────────────────────────┘
//
// The metric name, which is empty when no series had points, then a row for each group that has points.

func (s *sum) encode(n *names) []byte {
	name := ""
	for seen := range n.seen {
		name = seen // there is but one, the matcher's
	}
	b := appendBytes(nil, []byte(name))
	b = binary.AppendUvarint(b, uint64(len(n.seen)))
	b = binary.AppendUvarint(b, uint64(s.steps))
	for g, ls := range s.labels {
		if s.first[g] < 0 {
			continue
		}
		b = appendBytes(b, series.AppendKey(nil, ls))
		from := g * s.steps
		for _, column := range [][]float64{s.v, s.c, s.n} {
			if column == nil {
				continue
			}
			for _, x := range column[from : from+s.steps] {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
			}
		}
	}
	return b
}

func appendBytes(b, x []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(x))), x...)
}

var errAnswer = errors.New("the answer of another node is malformed")

// cut cuts a length and as many bytes off b.
func cut(b []byte) (x, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, nil, errAnswer
	}
	return b[w : w+int(n)], b[w+int(n):], nil
}

// decode adds the answer of another node.
func (g *gathered) decode(b []byte) error {
	name, b, err := cut(b)
	if err != nil {
		return err
	}
	seen, w := binary.Uvarint(b)
	if w <= 0 || seen > 1 {
		return errAnswer
	}
	b = b[w:]
	if steps, w := binary.Uvarint(b); w <= 0 || steps != uint64(g.steps) {
		return errAnswer
	} else {
		b = b[w:]
	}
	if seen > 0 {
		g.names.seen[string(name)] = true
	}
	one := &sum{partial: newPartial(g.op, 1, g.steps), labels: make([]labels.Labels, 1)}
	for len(b) > 0 {
		var key []byte
		if key, b, err = cut(b); err != nil {
			return err
		}
		var sb labels.ScratchBuilder
		if err := series.EachLabel(key, func(name, value string) { sb.Add(name, value) }); err != nil {
			return errAnswer
		}
		one.labels[0], one.first[0] = sb.Labels(), 0
		for _, column := range [][]float64{one.v, one.c, one.n} {
			if len(b) < 8*len(column) {
				return errAnswer
			}
			for i := range column {
				column[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
			}
			b = b[8*len(column):]
		}
		if err := g.add(one); err != nil {
			return err
		}
	}
	return nil
}
