package remote

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
)

// histogram reads the Histogram b[i:] of series n and appends it, or rejects it alone.
// Both versions write histograms alike, but for the start timestamp of 2.0, of which as of a sample's only
// the type is looked at.
func (d *decoder) histogram(b []byte, i, n, start int) error {
	if start != noStart && !isVarint(b, i, start) {
		return malformed("a histogram", i)
	}
	// Generated code decodes it, and allocates: at most 20 bytes for each of the wire.
	if err := d.lease.take(1024 + 20*int64(len(b)-i)); err != nil {
		return err
	}
	var p prompb.Histogram
	if err := p.Unmarshal(b[i:]); err != nil {
		return malformed("a histogram", i)
	}
	d.sent.histograms++
	h := series.Histogram{Series: len(d.batch.Series), T: p.Timestamp}
	if err := convertHistogram(&p, &h); err != nil {
		d.batch.RejectHistogram("histogram_invalid", fmt.Errorf("series %d of the request, histogram at %d: %w", n, p.Timestamp, err))
		return nil
	}
	hs, err := room(&d.lease, d.batch.Histograms, 1)
	if err != nil {
		return err
	}
	d.batch.Histograms = append(hs, h)
	return nil
}

var errMixed = errors.New("it mixes float and integer counts")

// Numbers of the field that holds a start timestamp.
const (
	noStart          = 0
	startOfSample    = 3
	startOfHistogram = 17
)

// isVarint reports whether a field of the message b[i:] is a varint wherever it occurs.
func isVarint(b []byte, i, field int) bool {
	for i >= 0 && i < len(b) {
		num, typ, next := tag(b, i)
		if next < 0 || num == field && typ != wireVarint {
			return false
		}
		i = skip(b, next, typ)
	}
	return i >= 0
}

// convertHistogram fills in h from its wire form and checks it.
func convertHistogram(p *prompb.Histogram, h *series.Histogram) error {
	if p.ResetHint < 0 || p.ResetHint > prompb.Histogram_GAUGE {
		p.ResetHint = prompb.Histogram_UNKNOWN
	}
	_, intZero := p.ZeroCount.(*prompb.Histogram_ZeroCountInt)
	_, floatZero := p.ZeroCount.(*prompb.Histogram_ZeroCountFloat)
	if p.IsFloatHistogram() {
		if intZero || len(p.PositiveDeltas)+len(p.NegativeDeltas) > 0 {
			return errMixed
		}
		h.Float = p.ToFloatHistogram()
		return checkHistogram(h.Float, &h.Float.Schema, h.Float.ReduceResolution)
	}
	if floatZero || len(p.PositiveCounts)+len(p.NegativeCounts) > 0 {
		return errMixed
	}
	h.Int = p.ToIntHistogram()
	return checkHistogram(h.Int, &h.Int.Schema, h.Int.ReduceResolution)
}

// checkHistogram validates a histogram. A schema finer than those that can be stored, of
// the range that is kept free for such, is reduced to the finest one, as Prometheus does.
func checkHistogram(h interface{ Validate() error }, schema *int32, reduce func(int32) error) error {
	finer := *schema
	if finer <= histogram.ExponentialSchemaMax || !histogram.IsExponentialSchemaReserved(finer) {
		return h.Validate()
	}
	*schema = histogram.ExponentialSchemaMax // only to validate
	err := h.Validate()
	*schema = finer
	if err != nil {
		return err
	}
	return reduce(histogram.ExponentialSchemaMax)
}
