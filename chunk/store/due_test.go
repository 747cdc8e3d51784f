package store

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// filling is a replica to which the same is written as to the others.
type filling struct {
	s       *Store
	flushes []int // the numbers of batches after which it flushed
}

// Replicas that get the same writes flush at different moments, after a start and after a flush that all were asked for; none has more than it may,
// and all answer the same.
func TestReplicasFlushOutOfStep(t *testing.T) {
	const memtable = 1 << 20
	names := []string{"n1", "n2", "n3", "n1"}
	var all []*filling
	for _, name := range names {
		s := open(t, t.TempDir(), Options{MemtableBytes: memtable, Node: name})
		defer s.Close()
		all = append(all, &filling{s: s})
	}
	at := 0
	write := func(times int) {
		for range times {
			at++
			for _, f := range all {
				before := f.s.active.Bytes()
				b := wide(300, 1)
				for j := range b.Samples {
					b.Samples[j] = series.Sample{T: epoch + int64(at)*1000, V: float64(at*j) * 1.1}
				}
				if err := f.s.Append(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				if !f.s.due() {
					continue
				}
				if before >= memtable {
					t.Errorf("node %s goes on with %d bytes in memory, it may have %d", f.s.o.Node, before, memtable)
				}
				if err := f.s.freezeIfDue(); err != nil {
					t.Fatal(err)
				}
				if err := f.s.flushInTime(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.flushes = append(f.flushes, at)
			}
		}
	}
	apart := func(when string) {
		t.Helper()
		for i := range 3 {
			for j := range i {
				for k := range min(len(all[i].flushes), len(all[j].flushes)) {
					if all[i].flushes[k] == all[j].flushes[k] {
						t.Errorf("%s: nodes %s and %s both flush after batch %d", when, names[i], names[j], all[i].flushes[k])
					}
				}
			}
			if len(all[i].flushes) < 2 {
				t.Errorf("%s: node %s has flushed after %d", when, names[i], all[i].flushes)
			}
		}
		if a, b := all[0].flushes, all[3].flushes; len(a) == 0 || len(a) != len(b) || a[0] != b[0] || a[len(a)-1] != b[len(b)-1] {
			t.Errorf("%s: the same name flushes after %v, and after %v", when, a, b)
		}
		for _, f := range all {
			f.flushes = nil
		}
	}
	write(1200)
	apart("after the start")
	for _, f := range all {
		if err := f.s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(1200)
	apart("after a flush that all were asked for")
	for _, f := range all {
		got, err := f.s.Aggregate(t.Context(), epoch, epoch+1e9, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
		if err != nil || got.Count() != uint64(300*at) {
			t.Errorf("node %s has %d samples (%v), want %d", f.s.o.Node, got.Count(), err, 300*at)
		}
	}
}

// So they do where little is written, and memtables are flushed because they are old.
func TestReplicasAgeOutOfStep(t *testing.T) {
	start := time.UnixMilli(epoch)
	old := map[time.Duration]string{}
	for _, name := range []string{"", "n1", "n2", "n3"} {
		now := start
		s := open(t, t.TempDir(), Options{Node: name, FlushAge: 100 * time.Minute, Now: func() time.Time { return now }})
		defer s.Close()
		if err := s.Append(t.Context(), one("m", series.Sample{T: epoch, V: 1})); err != nil {
			t.Fatal(err)
		}
		for ; !s.due(); now = now.Add(10 * time.Second) {
			if now.Sub(start) > 2*s.o.FlushAge {
				t.Fatal("it does not grow old")
			}
		}
		age := now.Sub(start)
		if other, ok := old[age]; ok || age > s.o.FlushAge || age < s.o.FlushAge/2 || name == "" && age != s.o.FlushAge {
			t.Errorf("node %q flushes after %v, as %q does, or at a wrong time", name, age, other)
		}
		old[age] = name
	}
}
