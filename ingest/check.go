package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/minitrue/minitrue/chunk/series"
)

// limits are the times that a sample may have, in milliseconds, both inclusive.
type limits struct {
	lo, hi    int64
	future    time.Duration
	retention time.Duration
}

func (p *Pipeline) limits(now time.Time) limits {
	l := limits{hi: now.Add(p.o.MaxFuture).UnixMilli(), future: p.o.MaxFuture, retention: p.o.Retention}
	if p.o.Retention > 0 {
		l.lo = max(0, now.Add(-p.o.Retention).UnixMilli())
	}
	l.hi = max(l.hi, l.lo) // a clock before 1970
	return l
}

// fits is one comparison: what is below lo wraps around to a huge number.
func (l limits) fits(t int64) bool { return uint64(t)-uint64(l.lo) <= uint64(l.hi-l.lo) }

// apply takes what does not fit out of the batch. When everything fits, it reads
// each time once and writes nothing.
func (l limits) apply(b *series.Batch) {
	good := true
	for i := range b.Samples {
		if !l.fits(b.Samples[i].T) {
			good = false
			break
		}
	}
	if !good {
		l.samples(b)
	}
	for i := range b.Histograms {
		if !l.fits(b.Histograms[i].T) {
			l.histograms(b)
			break
		}
	}
	for i := range b.Exemplars {
		if !l.fits(b.Exemplars[i].Ts) {
			l.exemplars(b)
			break
		}
	}
}

// samples compacts each entry's samples in place. Those of a rejected series are
// counted already.
func (l limits) samples(b *series.Batch) {
	for i := range b.Series {
		e := &b.Series[i]
		if e.Bad {
			continue
		}
		kept := b.Samples[e.First : e.First : e.First+e.Count]
		for _, s := range b.Samples[e.First : e.First+e.Count] {
			if l.fits(s.T) {
				kept = append(kept, s)
				continue
			}
			reason, err := l.refuse(b, "sample", e.Key, s.T)
			b.RejectSample(reason, err)
		}
		e.Count = len(kept)
	}
}

func (l limits) histograms(b *series.Batch) {
	kept := b.Histograms[:0]
	for _, h := range b.Histograms {
		e := &b.Series[h.Series]
		if e.Bad || l.fits(h.T) {
			kept = append(kept, h)
			continue
		}
		reason, err := l.refuse(b, "histogram", e.Key, h.T)
		b.RejectHistogram(reason, err)
	}
	clear(b.Histograms[len(kept):])
	b.Histograms = kept
}

func (l limits) exemplars(b *series.Batch) {
	kept := b.Exemplars[:0]
	for _, x := range b.Exemplars {
		e := &b.Series[x.Series]
		if e.Bad || l.fits(x.Ts) {
			kept = append(kept, x)
			continue
		}
		reason, err := l.refuse(b, "exemplar", e.Key, x.Ts)
		b.RejectExemplar(reason, err)
	}
	clear(b.Exemplars[len(kept):])
	b.Exemplars = kept
}

const shownErrs = 5 // the batch keeps no more, so that no more are worded

var errTime = errors.New("the time is out of range")

// refuse says why a time does not fit: the reason for a metric, the error for a person.
func (l limits) refuse(b *series.Batch, what string, key []byte, t int64) (reason string, err error) {
	var why string
	switch {
	case t < 0:
		reason, why = "time_negative", "the time is before 1970"
	case t > l.hi:
		reason, why = "time_future", fmt.Sprintf("the time is more than %v ahead of this server's clock", l.future)
	default:
		reason, why = "time_retention", fmt.Sprintf("the time is older than the retention of %v", l.retention)
	}
	if len(b.Rejected.Errs) >= shownErrs {
		return reason, errTime
	}
	return reason, fmt.Errorf("%s of %s at %s (%d ms): %s", what, labelText(key), timeText(t), t, why)
}

// timeText is a time as people write it, where it can be written.
func timeText(ms int64) string {
	t := time.UnixMilli(ms).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return "a year out of range"
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

const maxLabelText = 160 // bytes of labels in an error

// labelText is the label set of a key for an error, shortened.
func labelText(key []byte) string {
	out := []byte{'{'}
	err := series.EachLabel(key, func(name, value string) {
		if len(out) > maxLabelText {
			return
		}
		if len(out) > 1 {
			out = append(out, ", "...)
		}
		out = append(out, clip(name, 64)...)
		out = append(out, '=')
		out = strconv.AppendQuote(out, clip(value, 64))
	})
	if err != nil {
		return "a series with malformed labels"
	}
	if len(out) > maxLabelText {
		out = append(out, ", …"...)
	}
	return string(append(out, '}'))
}

// clip cuts s to at most n bytes and an ellipsis, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
