package series

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// What is joined is what there was, one after the other, and what is rejected of it is rejected where it came from.
func TestJoin(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		var joined Batch
		var parts []*Batch
		type place struct{ part, series int }
		var places []place
		for k := range 1 + r.IntN(5) {
			b := &Batch{Metadata: []Metadata{{Family: fmt.Sprint(k)}}}
			for i := range r.IntN(6) {
				n := r.IntN(4)
				b.Series = append(b.Series, Entry{Key: fmt.Append(nil, k, i), First: len(b.Samples), Count: n, Bad: r.IntN(9) == 0})
				for j := range n {
					b.Samples = append(b.Samples, Sample{T: int64(j), V: r.Float64()})
				}
				for range r.IntN(3) {
					b.Histograms = append(b.Histograms, Histogram{Series: i, T: r.Int64()})
				}
				for range r.IntN(3) {
					b.Exemplars = append(b.Exemplars, Exemplar{Series: i})
				}
				places = append(places, place{k, i})
			}
			parts = append(parts, b)
			joined.Join(b)
		}
		if len(joined.Series) != len(places) || len(joined.Metadata) != len(parts) {
			t.Fatalf("seed %d: %d series, want %d", seed, len(joined.Series), len(places))
		}
		h, x := 0, 0
		for i, e := range joined.Series {
			of := parts[places[i].part]
			o := of.Series[places[i].series]
			if string(e.Key) != string(o.Key) || e.Count != o.Count || e.Bad != o.Bad || joined.Number(i) != places[i].series+1 {
				t.Fatalf("seed %d: series %d is %+v with number %d, was %+v", seed, i, e, joined.Number(i), o)
			}
			for j := range e.Count {
				if joined.Samples[e.First+j] != of.Samples[o.First+j] {
					t.Fatalf("seed %d: sample %d of series %d differs", seed, j, i)
				}
			}
			for _, oh := range of.Histograms {
				if oh.Series == places[i].series {
					if joined.Histograms[h].Series != i || joined.Histograms[h].T != oh.T {
						t.Fatalf("seed %d: histogram %d is %+v", seed, h, joined.Histograms[h])
					}
					h++
				}
			}
			for _, ox := range of.Exemplars {
				if ox.Series == places[i].series {
					if joined.Exemplars[x].Series != i {
						t.Fatalf("seed %d: exemplar %d is of series %d, want %d", seed, x, joined.Exemplars[x].Series, i)
					}
					x++
				}
			}
		}
		want := make([]Rejected, len(parts))
		for i, e := range joined.Series {
			if r.IntN(2) == 0 {
				joined.Reject(i, "test", errors.New("x"))
				joined.Reject(i, "test", errors.New("x"))
				if !e.Bad {
					want[places[i].part].Samples += e.Count
				}
				if !parts[places[i].part].Series[places[i].series].Bad {
					t.Fatalf("seed %d: series %d is not rejected where it came from", seed, i)
				}
			}
		}
		for k, b := range parts {
			if b.Rejected.Samples != want[k].Samples {
				t.Fatalf("seed %d: %d samples of batch %d are rejected, want %d", seed, b.Rejected.Samples, k, want[k].Samples)
			}
		}
		joined.Reset()
		joined.Join(&Batch{Series: []Entry{{}}})
		if joined.Number(0) != 1 {
			t.Fatal("Reset leaves what was joined")
		}
	}
	if n := (&Batch{Series: make([]Entry, 3)}).Number(2); n != 3 {
		t.Fatalf("the third series of a batch of its own has number %d", n)
	}
}
