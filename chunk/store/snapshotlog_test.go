package store

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// A snapshot has the metadata and the exemplars that the store has, those that were deleted not.
func TestASnapshotHasMetadataAndExemplars(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	defer s.Close()
	for i := range 20 {
		b := one(fmt.Sprint("m", i), series.Sample{T: int64(i), V: 1})
		b.Exemplars = []series.Exemplar{{Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", fmt.Sprint(i)), Value: 2, Ts: int64(i), HasTs: true}}}
		b.Metadata = []series.Metadata{{Family: fmt.Sprint("m", i), Type: "gauge", Help: "help", Unit: "s"}}
		if err := s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Delete(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m3")); err != nil {
		t.Fatal(err)
	}
	has := func(s *Store) (about []series.Metadata, found []exemplar.QueryResult) {
		t.Helper()
		q, err := s.ExemplarQuerier(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if found, err = q.Select(math.MinInt64, math.MaxInt64, []*labels.Matcher{every}); err != nil {
			t.Fatal(err)
		}
		return s.metadata.all(), found
	}
	about, found := has(s)
	if len(about) != 20 || len(found) != 19 {
		t.Fatal(len(about), len(found))
	}
	dir, err := s.Snapshot(t.Context(), "copy")
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, Options{})
	defer c.Close()
	gotAbout, gotFound := has(c)
	if !reflect.DeepEqual(gotAbout, about) || !reflect.DeepEqual(gotFound, found) {
		t.Errorf("%d families and exemplars of %d series, want %d and %d", len(gotAbout), len(gotFound), len(about), len(found))
	}
	if st, err := c.Aggregate(t.Context(), 0, math.MaxInt64, every); err != nil || st.Count() != 19 {
		t.Errorf("%v samples, %v", st.Count(), err)
	}
}
