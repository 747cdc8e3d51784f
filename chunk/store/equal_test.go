package store

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// Series that all have the same samples take less than a byte of a file each, and are written and read all the same.
func TestEqualSeriesAreFlushed(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const count = 20_000
	b := &series.Batch{}
	for i := range count {
		key := series.AppendKey(nil, labels.FromStrings("__name__", "up", "device_id", fmt.Sprint("d", i)))
		b.Series = append(b.Series, series.Entry{Key: key, First: len(b.Samples), Count: 10})
		for k := range 10 {
			b.Samples = append(b.Samples, series.Sample{T: epoch + int64(k)*1000, V: 1})
		}
	}
	if err := s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Aggregate(t.Context(), 0, epoch*2, labels.MustNewMatcher(labels.MatchEqual, "__name__", "up"))
	if err != nil || got.Count() != 10*count || got.Total() != 10*count {
		t.Fatalf("%d samples with the sum %v (%v)", got.Count(), got.Total(), err)
	}
}
