package shard

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
)

// asMap is a Set as a map.
func asMap(s *Set) map[uint16]bool {
	m := map[uint16]bool{}
	for p := range s.Partitions() {
		m[p] = true
	}
	return m
}

func TestSetAgainstAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	some := func() *Set {
		s := &Set{}
		for range rng.IntN(3000) {
			s.Add(uint16(rng.IntN(Partitions)))
		}
		return s
	}
	for range 50 {
		a, b := some(), some()
		for name, op := range map[string]struct {
			do   func(s, o *Set)
			want func(inA, inB bool) bool
		}{
			"union":     {(*Set).Union, func(x, y bool) bool { return x || y }},
			"minus":     {(*Set).Minus, func(x, y bool) bool { return x && !y }},
			"intersect": {(*Set).Intersect, func(x, y bool) bool { return x && y }},
		} {
			got := *a
			op.do(&got, b)
			n := 0
			for p := range uint16(Partitions) {
				want := op.want(a.Has(p), b.Has(p))
				if got.Has(p) != want {
					t.Fatalf("%s: partition %d: %v", name, p, !want)
				}
				if want {
					n++
				}
			}
			if got.Len() != n || len(asMap(&got)) != n {
				t.Fatalf("%s: %d partitions, %d when listed, want %d", name, got.Len(), len(asMap(&got)), n)
			}
		}
		back, err := SetFromBytes(a.AppendTo(nil))
		if err != nil || *back != *a {
			t.Fatalf("a set changes on its way: %v", err)
		}
	}
}

func TestSetBounds(t *testing.T) {
	s := &Set{}
	for _, p := range []uint16{Partitions - 1, 0, 63, 64} {
		s.Add(p)
		s.Add(p)
	}
	s.Remove(63)
	s.Remove(62)
	if got := slices.Collect(s.Partitions()); !slices.Equal(got, []uint16{0, 64, Partitions - 1}) {
		t.Errorf("partitions %v", got)
	}
	for range s.Partitions() {
		break // the iterator must bear it
	}
	if All().Len() != Partitions || (&Set{}).Len() != 0 {
		t.Error("all or none are not that many")
	}
}

func TestSetBytes(t *testing.T) {
	s := &Set{}
	s.Add(0)
	s.Add(9)
	s.Add(Partitions - 1)
	want := make([]byte, 512)
	want[0], want[1], want[511] = 1, 2, 0x80
	if got := s.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("the bytes are % x", got)
	}
	for _, n := range []int{0, 511, 513} {
		if _, err := SetFromBytes(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are a set", n)
		}
	}
}

func TestWithin(t *testing.T) {
	ctx := context.Background()
	if Only(ctx) != nil {
		t.Error("a context has a limit that nobody gave it")
	}
	s := &Set{}
	if Only(Within(ctx, s)) != s {
		t.Error("the limit is lost")
	}
}
