package main

import (
	"fmt"
	"math"
	"net/url"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// samples are what a server has, by series, and by time in milliseconds. A value is written as
// its bits, a histogram as its fields.
type samples map[string]map[int64]string

func (s samples) count() (n int) {
	for _, one := range s {
		n += len(one)
	}
	return n
}

// read reads all samples of the matching series by remote_read, with Prometheus's own client.
// The label named drop is left out of the series; "" drops none.
func read(t *testing.T, base string, from, to time.Time, drop string, ms ...*labels.Matcher) (samples, error) {
	t.Helper()
	u, err := url.Parse(base + "/api/v1/read")
	if err != nil {
		t.Fatal(err)
	}
	c, err := remote.NewReadClient("test", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: 64 << 20,
		HTTPClientConfig: config_util.DefaultHTTPClientConfig,
	})
	if err != nil {
		t.Fatal(err)
	}
	query, err := remote.ToQuery(from.UnixMilli(), to.UnixMilli(), ms, nil)
	if err != nil {
		t.Fatal(err)
	}
	return collect(t, c, query, drop)
}

func collect(t *testing.T, c remote.ReadClient, query *prompb.Query, drop string) (samples, error) {
	set, err := c.Read(t.Context(), query, true)
	if err != nil {
		return nil, err
	}
	all, last := samples{}, ""
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		name := labels.NewBuilder(s.Labels()).Del(drop).Labels().String()
		switch {
		case all[name] == nil:
			all[name] = map[int64]string{}
		case name != last: // a long one comes in parts, one behind the other
			return nil, fmt.Errorf("%s comes twice", name)
		}
		last = name
		it = s.Iterator(it)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			at, value := text(it, typ)
			if other, ok := all[name][at]; ok {
				return nil, fmt.Errorf("%s has two samples at %d: %s and %s", name, at, other, value)
			}
			all[name][at] = value
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
	}
	return all, set.Err()
}

// text writes a sample so that two are equal when their texts are. Of histograms, the hint and
// empty buckets say nothing about what was measured.
func text(it chunkenc.Iterator, typ chunkenc.ValueType) (int64, string) {
	switch typ {
	case chunkenc.ValFloat:
		at, v := it.At()
		return at, fmt.Sprintf("%v %#x", v, math.Float64bits(v))
	case chunkenc.ValHistogram:
		at, h := it.AtHistogram(nil)
		h = h.Copy().Compact(0)
		h.CounterResetHint = 0
		return at, fmt.Sprintf("%+v", *h)
	default:
		at, h := it.AtFloatHistogram(nil)
		h = h.Copy().Compact(0)
		h.CounterResetHint = 0
		return at, fmt.Sprintf("%+v", *h)
	}
}

// differ says where two servers do not have the same samples.
func differ(want, got samples) error {
	for name, samples := range want {
		for at, value := range samples {
			switch other, ok := got[name][at]; {
			case !ok:
				return fmt.Errorf("%s has no sample at %d, where %s was sent (it has %d of %d)", name, at, value, len(got[name]), len(samples))
			case other != value:
				return fmt.Errorf("%s at %d is %s, sent was %s", name, at, other, value)
			}
		}
	}
	for name, samples := range got {
		for at, value := range samples {
			if _, ok := want[name][at]; !ok {
				return fmt.Errorf("%s at %d is %s, which nobody sent", name, at, value)
			}
		}
	}
	return nil
}

// everything matches all series.
func everything() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchNotEqual, model.MetricNameLabel, "")
}
