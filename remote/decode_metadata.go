package remote

import (
	"fmt"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
)

// metricTypes are the types of both versions, by their numbers.
var metricTypes = [...]model.MetricType{
	model.MetricTypeUnknown, model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram,
	model.MetricTypeGaugeHistogram, model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset,
}

func metricType(n uint64) model.MetricType {
	if n < uint64(len(metricTypes)) {
		return metricTypes[n]
	}
	return model.MetricTypeUnknown
}

const (
	maxHelp   = 64 << 10 // bytes of a help text
	maxFamily = 1024     // bytes of a family's name, or of its unit
)

// metadata appends a description of a metric family, and tells whether it did.
func (d *decoder) metadata(typ uint64, family, unit, help []byte) (bool, error) {
	switch {
	case len(family) == 0:
		return false, nil
	case len(family) > maxFamily || len(unit) > maxFamily || len(help) > maxHelp:
		d.batch.Rejected.Count("metadata_length", 1, fmt.Errorf("the metadata of %.64q is too long", family))
		return false, nil
	case !utf8.Valid(family) || !utf8.Valid(unit) || !utf8.Valid(help):
		d.batch.Rejected.Count("metadata_utf8", 1, fmt.Errorf("the metadata of %.64q is not valid UTF-8", family))
		return false, nil
	}
	ms, err := room(&d.lease, d.batch.Metadata, 1)
	if err != nil {
		return false, err
	}
	m := series.Metadata{Type: metricType(typ)}
	for _, f := range []struct {
		to   *string
		from []byte
	}{{&m.Family, family}, {&m.Unit, unit}, {&m.Help, help}} {
		if *f.to, err = d.text(f.from); err != nil {
			return false, err
		}
	}
	d.batch.Metadata = append(ms, m)
	return true, nil
}

const (
	maxKnown     = 4096 // texts in decoder.known
	maxKnownText = 512  // bytes of one of them
)

// text is b as a string that does not alias it.
func (d *decoder) text(b []byte) (string, error) {
	if s, ok := d.known[string(b)]; ok || len(b) == 0 {
		return s, nil
	}
	if err := d.lease.take(int64(len(b))); err != nil {
		return "", err
	}
	s := string(b)
	if len(s) <= maxKnownText {
		if d.known == nil || len(d.known) >= maxKnown {
			d.known = make(map[string]string)
		}
		d.known[s] = s
	}
	return s, nil
}
