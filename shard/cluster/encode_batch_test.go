package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
)

// Every message is one that Prometheus's own code reads, and together they say what the batch does without what is rejected.
func TestEncode(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := randomBatch(r, r.IntN(40), int(seed)*50)
		want := map[string]string{}
		for i := range b.Series {
			if r.IntN(5) == 0 {
				b.Reject(i, "test", nil)
				continue
			}
			one := series.Batch{Series: []series.Entry{b.Series[i]}, Samples: b.Samples}
			for _, h := range b.Histograms {
				if h.Series == i {
					h.Series = 0
					one.Histograms = append(one.Histograms, h)
				}
			}
			for _, x := range b.Exemplars {
				if x.Series == i {
					x.Series = 0
					one.Exemplars = append(one.Exemplars, x)
				}
			}
			if text := described(t, &one); text != "" {
				want[string(b.Series[i].Key)] = text
			}
		}
		got, metadata := map[string]string{}, 0
		err := Encode(b, func(message []byte) error {
			var w prompb.WriteRequest
			if err := w.Unmarshal(message); err != nil {
				return err
			}
			metadata += len(w.Metadata)
			for i := range w.Timeseries {
				var key []byte
				for _, l := range w.Timeseries[i].Labels {
					key = series.AppendLabel(key, l.Name, l.Value)
				}
				got[string(key)] += w.Timeseries[i].String()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || metadata != len(b.Metadata) {
			t.Fatalf("seed %d: %d series and %d metadata came back of %d and %d, or not as they were", seed, len(got), metadata, len(want), len(b.Metadata))
		}
	}
}

// described is the text of a batch of one series, in Prometheus's words.
func described(t *testing.T, b *series.Batch) (text string) {
	t.Helper()
	e := &b.Series[0]
	if e.Count+len(b.Histograms)+len(b.Exemplars) == 0 {
		return ""
	}
	var p prompb.TimeSeries
	_ = series.EachLabel(e.Key, func(name, value string) { p.Labels = append(p.Labels, prompb.Label{Name: name, Value: value}) })
	for _, s := range b.Samples[e.First : e.First+e.Count] {
		p.Samples = append(p.Samples, prompb.Sample{Timestamp: s.T, Value: s.V})
	}
	for _, h := range b.Histograms {
		if h.Int != nil {
			p.Histograms = append(p.Histograms, prompb.FromIntHistogram(h.T, h.Int))
		} else {
			p.Histograms = append(p.Histograms, prompb.FromFloatHistogram(h.T, h.Float))
		}
	}
	for _, x := range b.Exemplars {
		q := prompb.Exemplar{Value: x.Value, Timestamp: x.Ts}
		q.Labels = prompb.FromLabels(x.Labels, nil)
		p.Exemplars = append(p.Exemplars, q)
	}
	return p.String()
}

// A batch of much is cut into messages of bounded size, and nothing of it is missing.
func TestEncodeMuch(t *testing.T) {
	b := &series.Batch{}
	for i := range 3 {
		e := series.Entry{Key: series.AppendLabel(nil, "__name__", fmt.Sprint("m", i)), First: len(b.Samples), Count: 450_000}
		for j := range e.Count {
			b.Samples = append(b.Samples, series.Sample{T: int64(j), V: float64(i)})
		}
		b.Series = append(b.Series, e)
	}
	n, messages := 0, 0
	err := Encode(b, func(message []byte) error {
		var w prompb.WriteRequest
		if err := w.Unmarshal(message); err != nil {
			return err
		}
		for _, ts := range w.Timeseries {
			n += len(ts.Samples)
		}
		messages++
		if len(message) > 2*parcelBytes {
			t.Errorf("a message has %d bytes", len(message))
		}
		return nil
	})
	if err != nil || n != len(b.Samples) || messages < 4 {
		t.Errorf("%d of %d samples in %d messages, %v", n, len(b.Samples), messages, err)
	}
}
