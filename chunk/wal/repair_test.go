package wal

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// What Repair cannot mend is left out, with the samples of series that nothing names any more: they are not given to another
// series that had the number before.
func TestRepairLeavesOutWhatHasNoName(t *testing.T) {
	sample := func(ref uint32) []byte {
		var e SampleEncoder
		e.Add(ref, 7, 1)
		return e.Buf
	}
	type rec struct {
		typ Type
		b   []byte
	}
	log := []rec{
		{Series, AppendSeries(AppendSeries(nil, 1, []byte("old")), 2, []byte("other"))}, {Samples, sample(1)},
		{Series, AppendSeries(nil, 1, []byte("new"))}, {Samples, sample(1)}, {Samples, sample(2)},
		{Series, AppendSeries(nil, 3, []byte("third"))}, {Samples, sample(3)},
	}
	for _, c := range []struct {
		name   string
		damage int // the record that is overwritten
		header bool
		want   []string
	}{
		{"names", 2, false, []string{"1=old", "2=other", "old", "3=third", "third"}},
		{"samples", 3, false, []string{"1=old", "2=other", "old", "1=new", "other", "3=third", "third"}},
		{"no one knows", 3, true, []string{"1=old", "2=other", "old", "1=new", "3=third", "third"}},
	} {
		dir := t.TempDir()
		w, _ := open(t, dir, Options{SegmentSize: 4096})
		var starts []int64
		for _, r := range log {
			pos, err := w.Append(r.typ, r.b)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Sync(pos); err != nil {
				t.Fatal(err)
			}
			starts = append(starts, w.offset-int64(frameHeader+len(r.b)))
		}
		b, err := os.ReadFile(w.path(1))
		if err != nil {
			t.Fatal(err)
		}
		at := starts[c.damage]
		for i := range log[c.damage].b[:3] {
			b[at+frameHeader+int64(i)] ^= 0x55
		}
		if c.header {
			b[at+4] ^= 0x15
		}
		if err := os.WriteFile(w.path(1), b, 0o644); err != nil {
			t.Fatal(err)
		}
		if done, err := Repair(dir); err != nil || len(done) != 1 {
			t.Fatalf("%s: %v, %v", c.name, done, err)
		}
		var got []string
		names := map[uint32]string{}
		_, err = Open(dir, Options{SegmentSize: 4096}, func(_ uint64, typ Type, rec []byte) error {
			if typ == Series {
				return DecodeSeries(rec, func(ref uint32, key []byte) error {
					names[ref] = string(key)
					got = append(got, fmt.Sprintf("%d=%s", ref, key))
					return nil
				})
			}
			return DecodeSamples(rec, func(ref uint32, _ int64, _ float64) error {
				got = append(got, names[ref])
				return nil
			})
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q, %v", c.name, got, c.want, err)
		}
	}
}
