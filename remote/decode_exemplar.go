package remote

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/exemplar"

	"github.com/minitrue/minitrue/chunk/series"
)

// exemplar reads the Exemplar b[i:] of series n and appends it, or rejects it alone.
// Its labels are whole labels in 1.0 and references to symbols in 2.0.
func (d *decoder) exemplar(b []byte, i, n int, symbols bool) (err error) {
	var value, t uint64
	d.pairs, d.exRefs = d.pairs[:0], d.exRefs[:0]
	for i < len(b) {
		at := i
		num, typ, next := tag(b, i)
		switch {
		case next < 0:
			i = -1
		case num == 1 && symbols:
			if d.exRefs, i, err = d.appendRefs(d.exRefs, b, next, typ); err != nil {
				return err
			}
		case num == 1 && typ == wireBytes:
			i = d.exemplarLabel(b, next)
		case num == 2 && typ == wireFixed64:
			value, i = fixed64(b, next)
		case num == 3 && typ == wireVarint:
			t, i = uvarint(b, next)
		case num <= 3:
			i = -1
		default:
			i = skip(b, next, typ)
		}
		if i < 0 {
			return malformed("an exemplar", at)
		}
	}
	d.sent.exemplars++
	reason, why := d.resolvePairs()
	if reason == "" {
		reason, why = checkExemplar(d.pairs)
	}
	if reason != "" {
		d.batch.RejectExemplar(reason, fmt.Errorf("series %d of the request, exemplar at %d: %s", n, int64(t), why))
		return nil
	}
	return d.addExemplar(math.Float64frombits(value), int64(t))
}

// addExemplar appends an exemplar with the labels d.pairs.
func (d *decoder) addExemplar(value float64, t int64) error {
	d.builder.Reset()
	for _, p := range d.pairs {
		d.builder.Add(string(p.name), string(p.value))
	}
	d.builder.Sort()
	es, err := room(&d.lease, d.batch.Exemplars, 1)
	if err != nil {
		return err
	}
	e := series.Exemplar{Series: len(d.batch.Series)}
	e.Labels, e.Value, e.Ts, e.HasTs = d.builder.Labels(), value, t, t != 0
	d.batch.Exemplars = append(es, e)
	return nil
}

// maxPairs is more labels than an exemplar can have, each with a name.
const maxPairs = exemplar.ExemplarMaxLabelSetLength + 1

// exemplarLabel reads the Label whose length stands at b[i:] into d.pairs.
func (d *decoder) exemplarLabel(b []byte, i int) (next int) {
	i, end := span(b, i)
	if end < 0 {
		return -1
	}
	b = b[:end]
	var p pair
	for i < end {
		num, typ, at := tag(b, i)
		switch {
		case at < 0:
			return -1
		case num <= 2 && typ == wireBytes:
			lo, hi := span(b, at)
			if hi < 0 {
				return -1
			}
			if i = hi; num == 1 {
				p.name = b[lo:hi]
			} else {
				p.value = b[lo:hi]
			}
		case num <= 2:
			return -1
		default:
			if i = skip(b, at, typ); i < 0 {
				return -1
			}
		}
	}
	if len(d.pairs) < maxPairs {
		d.pairs = append(d.pairs, p)
	}
	return end
}

// resolvePairs looks d.exRefs up among the symbols.
func (d *decoder) resolvePairs() (reason, why string) {
	if len(d.exRefs)%2 != 0 {
		return "symbol_refs_odd", fmt.Sprintf("it has %d label references, they must come in pairs of name and value", len(d.exRefs))
	}
	for i, ref := range d.exRefs {
		if int64(ref) >= int64(len(d.symbols)) {
			return "symbol_ref", fmt.Sprintf("its label reference %d is outside of the symbol table, which has %d entries", ref, len(d.symbols))
		}
		if i%2 == 1 && len(d.pairs) < maxPairs {
			d.pairs = append(d.pairs, pair{d.symbol(d.exRefs[i-1]), d.symbol(ref)})
		}
	}
	return "", ""
}

// checkExemplar judges the labels of an exemplar.
func checkExemplar(ps []pair) (reason, why string) {
	runes := 0
	for i, p := range ps {
		runes += utf8.RuneCount(p.name) + utf8.RuneCount(p.value)
		switch {
		case len(p.name) == 0:
			return "exemplar_labels", "it has a label without a name"
		case !utf8.Valid(p.name) || !utf8.Valid(p.value):
			return "exemplar_labels", "its labels are not valid UTF-8"
		case runes > exemplar.ExemplarMaxLabelSetLength:
			return "exemplar_length", fmt.Sprintf("its labels have more than %d characters", exemplar.ExemplarMaxLabelSetLength)
		case slices.ContainsFunc(ps[:i], func(o pair) bool { return string(o.name) == string(p.name) }):
			return "exemplar_labels", fmt.Sprintf("its label %q is there twice", p.name)
		}
	}
	return "", ""
}
