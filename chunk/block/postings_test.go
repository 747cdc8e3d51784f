package block

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// Matchers of all kinds, alone and together, select what they do of the labels themselves.
func TestPostingsAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 9))
		model := randomModel(t, rng, 50+int(seed)*400)
		root := t.TempDir()
		b := openBlock(t, filepath.Join(root, write(t, root, model).ULID.String()))
		for range 1500 {
			ms := randomMatchers(rng, len(model))
			comparePostings(t, b, model, ms)
		}
		comparePostings(t, b, model, nil)
	}
}

func randomMatchers(rng *rand.Rand, n int) []*labels.Matcher {
	names := []string{"__name__", "A", "device_id", "site", "unit", "größe", "absent"}
	var ms []*labels.Matcher
	for range 1 + rng.IntN(3) {
		name := names[rng.IntN(len(names))]
		prefix := "m"
		if name != "__name__" {
			prefix = name[:1]
		}
		value := fmt.Sprintf("%s-%d", prefix, rng.IntN(n))
		if name == "__name__" {
			value = fmt.Sprintf("metric_%d", rng.IntN(6))
		}
		typ := labels.MatchType(rng.IntN(4))
		if rng.IntN(8) == 0 {
			value = ""
		} else if typ >= labels.MatchRegexp {
			value = []string{value + "|" + value + "1|x", ".*", ".+", value + ".*", ".*1", "(" + value + ")?", "metric_[1-3]|", prefix + "-[0-9]"}[rng.IntN(8)]
		}
		ms = append(ms, labels.MustNewMatcher(typ, name, value))
	}
	return ms
}

func comparePostings(t *testing.T, b *Block, model []modelSeries, ms []*labels.Matcher) {
	t.Helper()
	var want []uint32
	wantNames, wantValues := map[string]bool{}, map[string]bool{}
series:
	for i, s := range model {
		for _, m := range ms {
			if !m.Matches(s.Labels.Get(m.Name)) {
				continue series
			}
		}
		want = append(want, uint32(i))
		s.Labels.Range(func(l labels.Label) {
			wantNames[l.Name] = true
			if l.Name == "site" {
				wantValues[l.Value] = true
			}
		})
	}
	got, err := b.Postings(ms...)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v: %v, %v; want %v", ms, got, err, want)
	}
	names, err := b.LabelNames(ms...)
	if err != nil || len(names) != len(wantNames) || !slices.IsSorted(names) {
		t.Fatalf("%v: names %v, %v; want %v", ms, names, err, wantNames)
	}
	values, err := b.LabelValues("site", ms...)
	if err != nil || len(values) != len(wantValues) || !slices.IsSorted(values) {
		t.Fatalf("%v: values %v, %v; want %v", ms, values, err, wantValues)
	}
	for _, v := range values {
		if !wantValues[v] {
			t.Fatalf("%v: value %s", ms, v)
		}
	}
}
