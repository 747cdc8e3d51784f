package store

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// manyDevices is a batch of a sample at a time for each of n series.
func manyDevices(n int, t int64) *series.Batch {
	b := &series.Batch{}
	for i := range n {
		key := series.AppendKey(nil, labels.FromStrings("__name__", "m", "device_id", string(rune('a'+i%26))+string(rune('a'+i/26))))
		b.Series = append(b.Series, series.Entry{Key: key, First: i, Count: 1})
		b.Samples = append(b.Samples, series.Sample{T: t, V: float64(i)})
	}
	return b
}

// partitionsOf are those of the series of a batch.
func partitionsOf(b *series.Batch) (parts []uint16) {
	for _, e := range b.Series {
		parts = append(parts, shard.PartitionOfKey(e.Key, "device_id"))
	}
	return parts
}

func setOf(parts ...uint16) *shard.Set {
	s := &shard.Set{}
	for _, p := range parts {
		s.Add(p)
	}
	return s
}

func (w *world) seriesHeld() map[uint16]bool {
	w.t.Helper()
	leaves, err := w.s.Digests(w.t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		w.t.Fatal(err)
	}
	held := map[uint16]bool{}
	for _, l := range leaves {
		held[l.Partition] = true
	}
	sel, err := w.s.Scan(w.t.Context(), math.MinInt64, math.MaxInt64, everything())
	if err != nil {
		w.t.Fatal(err)
	}
	defer sel.Close()
	read := map[uint16]bool{}
	var b labels.ScratchBuilder
	for i := range sel.Len() {
		read[shard.Partition(sel.Labels(i, &b), "device_id")] = true
	}
	for p := range read {
		if !held[p] {
			w.t.Fatalf("partition %d is read, and has no digest", p)
		}
	}
	if len(read) != len(held) {
		w.t.Fatalf("%d partitions are read, %d have digests", len(read), len(held))
	}
	return held
}

// Compaction drops the series of partitions that are not owned, whole blocks of them too, and nothing while nobody said what is owned.
func TestOwn(t *testing.T) {
	const n = 200
	w := newWorld(t, 1)
	first := manyDevices(n, epoch)
	parts := partitionsOf(first)
	half := setOf(parts[:n/2]...)
	foreign := manyDevices(n, epoch+9*3600_000) // in a block of its own
	foreign.Series = slices.DeleteFunc(foreign.Series, func(e series.Entry) bool { return half.Has(shard.PartitionOfKey(e.Key, "device_id")) })
	for _, b := range []*series.Batch{first, foreign} {
		if err := w.s.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := w.s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	all := w.seriesHeld()
	if err := w.s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.seriesHeld(); len(got) != len(all) {
		t.Fatalf("%d partitions are left of %d, and nobody said what is owned", len(got), len(all))
	}
	w.s.Own(half)
	if got := w.seriesHeld(); len(got) != len(all) {
		t.Fatalf("readers see %d partitions of %d", len(got), len(all))
	}
	if err := w.s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.seriesHeld()
	for p := range got {
		if !half.Has(p) {
			t.Errorf("partition %d is still there", p)
		}
	}
	if len(got) != half.Len() {
		t.Errorf("%d partitions are left, want %d", len(got), half.Len())
	}
	w.restart()
	if again := w.seriesHeld(); len(again) != len(got) || w.s.own != nil {
		t.Errorf("%d partitions after a restart, want %d", len(again), len(got))
	}
	w.s.Own(&shard.Set{})
	if err := w.s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := w.s.metas(); len(left) > 0 {
		t.Errorf("%d blocks are left of which nothing is owned", len(left))
	}
}

// A few foreign series are no reason to write a block anew, but go when it is.
func TestFewForeignSeriesWait(t *testing.T) {
	const n = 600
	w := newWorld(t, 1)
	b := manyDevices(n, epoch)
	parts := partitionsOf(b)
	own := shard.All()
	own.Remove(parts[0])
	w.s.Own(own)
	if err := w.s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.s.Flush(t.Context()), w.s.Compact(t.Context())); err != nil {
		t.Fatal(err)
	}
	if !w.seriesHeld()[parts[0]] {
		t.Error("a block was written anew for one series")
	}
	if err := w.s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.seriesHeld()[parts[0]] {
		t.Error("the foreign series is still there")
	}
}

// What comes to be owned while a merge drops it stays.
func TestOwnedAgain(t *testing.T) {
	w := newWorld(t, 1)
	b := manyDevices(50, epoch)
	if err := errors.Join(w.s.Append(t.Context(), b), w.s.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	before := w.seriesHeld()
	few := setOf(partitionsOf(b)[:5]...)
	more := setOf(partitionsOf(b)[:9]...)
	rows := []struct {
		name string
		now  *shard.Set
		want error
	}{
		{"the same", few, nil}, {"fewer", setOf(partitionsOf(b)[0]), nil}, {"more", more, errReowned}, {"all", nil, errReowned},
	}
	for _, r := range rows {
		w.s.Own(few)
		v := w.s.view()
		made, err := compact.Merge(t.Context(), v.blocks, w.s.blocksDir(), compact.MergeOptions{Keep: v.own, Writer: block.WriterOptions{FS: w.o.FS}})
		if err != nil {
			t.Fatal(err)
		}
		w.s.Own(r.now)
		opened, err := w.s.openMade(made.ULID)
		if err != nil {
			t.Fatal(err)
		}
		err = w.s.replace(v, opened, v.blocks[0].Meta().ULID)
		v.close()
		if !errors.Is(err, r.want) {
			t.Fatalf("%s: %v, want %v", r.name, err, r.want)
		}
		if err != nil {
			if got := w.seriesHeld(); len(got) != len(before) || len(w.s.metas()) != 1 {
				t.Fatalf("%s: %d partitions are left of %d, in %d blocks", r.name, len(got), len(before), len(w.s.metas()))
			}
			continue
		}
		if got := w.seriesHeld(); len(got) != few.Len() {
			t.Fatalf("%s: %d partitions are left, want %d", r.name, len(got), few.Len())
		}
		w.restart()
		if err := w.s.Append(t.Context(), manyDevices(50, epoch)); err != nil { // once more
			t.Fatal(err)
		}
		if err := errors.Join(w.s.Flush(t.Context()), w.s.CompactAll(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	w.s.Own(nil)
	if err := w.s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.seriesHeld(); len(got) != len(before) {
		t.Fatalf("%d partitions are left of %d", len(got), len(before))
	}
}

// The buckets of foreign series go as well.
func TestOwnConcernsBuckets(t *testing.T) {
	a := newAged(t)
	owned := shard.Partition(a.keys[0], "device_id")
	a.Own(setOf(owned))
	if err := a.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, resolution := range []time.Duration{0, time.Hour} {
		ctx := series.AllowResolution(t.Context(), resolution.Milliseconds())
		sel, err := a.Scan(ctx, a.start, a.end, everything())
		if err != nil {
			t.Fatal(err)
		}
		if sel.Len() != 1 {
			t.Errorf("%d series at %v, want 1", sel.Len(), resolution)
		}
		sel.Close()
	}
}

// Exemplars are of the partitions that are asked for.
func TestExemplarsWithinPartitions(t *testing.T) {
	w := newWorld(t, 1)
	b := manyDevices(20, epoch)
	for i := range b.Series {
		b.Exemplars = append(b.Exemplars, series.Exemplar{Series: i, Exemplar: exemplar.Exemplar{Labels: labels.FromStrings("trace", "x"), Value: float64(i), Ts: epoch, HasTs: true}})
	}
	if err := w.s.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	w.restart()
	parts := partitionsOf(b)
	for _, only := range []*shard.Set{nil, shard.All(), setOf(parts[:7]...), {}} {
		want := 0
		for _, p := range parts {
			if only == nil || only.Has(p) {
				want++
			}
		}
		q, err := w.s.ExemplarQuerier(shard.Within(t.Context(), only))
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.Select(0, math.MaxInt64, []*labels.Matcher{everything()})
		if err != nil || len(got) != want {
			t.Errorf("%d series with exemplars, want %d: %v", len(got), want, err)
		}
	}
}

// A day of which nothing was owned is downsampled when its samples come to be owned again.
func TestEmptyDaysMayFill(t *testing.T) {
	const step = 5 * time.Minute
	now := time.UnixMilli(epoch).Add(72 * time.Hour)
	s := open(t, t.TempDir(), Options{Downsample: []Resolution{{Step: step}}, Now: func() time.Time { return now }})
	defer s.Close()
	b := one("m", series.Sample{T: epoch, V: 1}, series.Sample{T: epoch + 60_000, V: 2})
	late := one("m", series.Sample{T: now.UnixMilli(), V: 3}) // the newest sample says how late it is
	if err := errors.Join(s.Append(t.Context(), b), s.Append(t.Context(), late), s.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	s.Own(setOf((partitionsOf(b)[0] + 1) % shard.Partitions))
	o := s.o.Compact
	o.Force = true
	for done := true; done; {
		var err error
		if done, err = s.downsample(t.Context(), now.UnixMilli(), o, 1); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.emptyDays(step.Milliseconds())) == 0 {
		t.Fatal("no day is empty")
	}
	s.Own(nil)
	if err := s.CompactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.metas(), func(m block.Meta) bool { return m.Resolution == step.Milliseconds() }) {
		t.Error("there are no buckets")
	}
}
