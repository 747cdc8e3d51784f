package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
)

// open opens a log and returns what it replayed.
func open(t *testing.T, dir string, o Options) (*WAL, []string) {
	t.Helper()
	var got []string
	w, err := Open(dir, o, func(_ uint64, _ Type, rec []byte) error {
		got = append(got, string(rec))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, got
}

func put(t *testing.T, w *WAL, recs ...string) {
	t.Helper()
	for _, r := range recs {
		p, err := w.Append(Samples, []byte(r))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Sync(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReplayReturnsWhatWasAppended(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for start := range 4 {
		w, got := open(t, dir, Options{SegmentSize: 512})
		if !slices.Equal(got, want) {
			t.Fatalf("start %d: replayed %d records, want %d", start, len(got), len(want))
		}
		for i := range 50 {
			r := fmt.Sprintf("record %d of start %d", i, start)
			put(t, w, r)
			want = append(want, r)
		}
		if start%2 == 0 { // the other starts follow a crash
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestConcurrentAppendsAllReplay(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir, Options{SegmentSize: 4096})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				p, _ := w.Append(Samples, fmt.Appendf(nil, "%d/%d", g, i))
				if err := w.Sync(p); err != nil {
					t.Error(err)
				}
				if i == 50 && g == 0 {
					if _, err := w.Rotate(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	_, got := open(t, dir, Options{SegmentSize: 4096})
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != 800 {
		t.Fatalf("%d records of 800", len(got))
	}
}

func TestDropRemovesWhatWasBeforeARotation(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir, Options{SegmentSize: 256})
	put(t, w, "a", "b", "c")
	n, err := w.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, "d")
	if err := w.Drop(n, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w, got := open(t, dir, Options{SegmentSize: 4096})
	if !slices.Equal(got, []string{"d"}) {
		t.Fatalf("replayed %q", got)
	}
	put(t, w, "e")
}

// A write that a crash tore anywhere loses what was not acknowledged, and nothing before it.
func TestTornTailAtEveryByte(t *testing.T) {
	master := t.TempDir()
	w, _ := open(t, master, Options{SegmentSize: 4096})
	put(t, w, "first", "second")
	end := w.offset
	put(t, w, "the torn one")
	b, err := os.ReadFile(w.path(1))
	if err != nil {
		t.Fatal(err)
	}
	for cut := end; cut < w.offset; cut++ {
		for _, zeros := range []bool{false, true} { // the file ends, or goes on with the zeros that were there before
			dir := t.TempDir()
			torn := slices.Clone(b[:cut])
			if zeros {
				torn = append(torn, make([]byte, int64(len(b))-cut)...)
			}
			if err := os.WriteFile(filepath.Join(dir, segmentName(1)), torn, 0o644); err != nil {
				t.Fatal(err)
			}
			w, got := open(t, dir, Options{SegmentSize: 4096})
			if !slices.Equal(got, []string{"first", "second"}) {
				t.Fatalf("cut at %d: replayed %q", cut, got)
			}
			put(t, w, "third")
			if _, got = open(t, dir, Options{SegmentSize: 4096}); !slices.Equal(got, []string{"first", "second", "third"}) {
				t.Fatalf("cut at %d, second start: replayed %q", cut, got)
			}
		}
	}
}

// One flipped bit in what was acknowledged stops the start, whichever it is, also in the last write; after
// Repair everything is there.
func TestFlippedBitIsNeverPassedOver(t *testing.T) {
	master := t.TempDir()
	w, _ := open(t, master, Options{SegmentSize: 1024})
	put(t, w, "first", "second")
	put(t, w, "third")
	b, err := os.ReadFile(w.path(1))
	if err != nil {
		t.Fatal(err)
	}
	for at := range w.offset {
		dir := t.TempDir()
		bad := slices.Clone(b)
		bad[at] ^= 1 << (at % 8)
		path := filepath.Join(dir, segmentName(1))
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{SegmentSize: 4096}, func(uint64, Type, []byte) error { return nil })
		var ce *CorruptError
		if !errors.As(err, &ce) || ce.Path != path {
			t.Fatalf("bit flipped at %d: error %v", at, err)
		}
		if done, err := Repair(dir); err != nil || len(done) != 1 {
			t.Fatalf("repair after a flip at %d: %v, %v", at, done, err)
		}
		_, got := open(t, dir, Options{SegmentSize: 4096})
		if !slices.Equal(got, []string{"first", "second", "third"}) {
			t.Fatalf("after the repair of a flip at %d: %q", at, got)
		}
	}
}

func TestMissingSegmentIsFound(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir, Options{SegmentSize: 64})
	for range 5 {
		put(t, w, "a record that fills a segment by itself, or nearly so")
	}
	if err := os.Remove(w.path(2)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{SegmentSize: 4096}, func(uint64, Type, []byte) error { return nil })
	var ce *CorruptError
	if !errors.As(err, &ce) {
		t.Fatalf("error %v", err)
	}
}

// faultyDisk is a disk whose files fail while told to, after tearing the write.
type faultyDisk struct {
	disk.FS
	faults
}

type faults struct {
	writes, syncs, creates, grows bool  // what fails
	tear                          int   // bytes of a failing write that get through
	room                          int64 // bytes that a file may have; 0 means any number
}

func (d *faultyDisk) Create(path string) (disk.File, error) {
	if d.creates {
		return nil, errors.New("no space left")
	}
	f, err := d.FS.Create(path)
	return &failing{f, d}, err
}

// failing is a file on it.
type failing struct {
	disk.File
	disk *faultyDisk
}

func (f *failing) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.writes {
		n, _ := f.File.WriteAt(p[:min(f.disk.tear, len(p))], off)
		return n, errors.New("injected write error")
	}
	return f.File.WriteAt(p, off)
}

func (f *failing) Reserve(size int64) error {
	if f.disk.grows || f.disk.room > 0 && size > f.disk.room {
		return errors.New("no space left")
	}
	return f.File.Reserve(size)
}

func (f *failing) Sync() error {
	if f.disk.syncs {
		return errors.New("injected sync error")
	}
	return f.File.Sync()
}

// What was acknowledged replays, whatever failed in between and however the log was restarted.
func TestFailuresLoseNothingAcknowledged(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir, d := t.TempDir(), &faultyDisk{FS: disk.OS}
		o := Options{SegmentSize: 300, FS: d}
		w, _ := open(t, dir, o)
		acked, sent := []string{}, map[string]bool{}
		for i := range 60 {
			d.faults = faults{r.IntN(6) == 0, r.IntN(6) == 0, r.IntN(6) == 0, r.IntN(6) == 0, r.IntN(60), 0}
			first, second := fmt.Sprint("a", i), fmt.Sprint("b", i)
			p1, _ := w.Append(Samples, []byte(first))
			p2, _ := w.Append(Samples, []byte(second))
			sent[first], sent[second] = true, true
			err1 := w.Sync(p2)
			if r.IntN(4) == 0 {
				d.faults = faults{}
				if p, err := w.Append(Samples, []byte("between")); err == nil {
					_ = w.Sync(p)
				}
			}
			err2 := w.Sync(p1)
			if (err1 == nil) != (err2 == nil) {
				t.Fatalf("seed %d: one write, two answers: %v and %v", seed, err1, err2)
			}
			if err1 == nil {
				acked = append(acked, first, second)
			} else if !errors.Is(err1, ErrLost) {
				t.Fatalf("seed %d: error %v", seed, err1)
			}
			if err1 != nil && r.IntN(2) == 0 {
				_, _ = w.Rotate() // may fail as well
			}
			if r.IntN(10) == 0 {
				d.faults = faults{}
				w, _ = open(t, dir, o)
			}
		}
		_, got := open(t, dir, Options{SegmentSize: 4096})
		have := map[string]bool{}
		for _, g := range got {
			have[g] = true
			if !sent[g] && g != "between" {
				t.Fatalf("seed %d: replayed %q, which was never sent", seed, g)
			}
		}
		for _, a := range acked {
			if !have[a] {
				t.Fatalf("seed %d: lost %q", seed, a)
			}
		}
	}
}

func TestIntervalModeSyncsLater(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir, Options{Interval: 1})
	put(t, w, "a")
	if w.durable == w.offset {
		t.Fatal("the log was synced before its time")
	}
	if err := w.SyncAll(); err != nil || w.durable != w.offset {
		t.Fatalf("SyncAll: %v, durable %d of %d", err, w.durable, w.offset)
	}
}

func FuzzReplay(f *testing.F) {
	dir := f.TempDir()
	w, err := Open(dir, Options{SegmentSize: 256}, nil)
	if err != nil {
		f.Fatal(err)
	}
	p, _ := w.Append(Series, AppendSeries(nil, 1, []byte("key")))
	if err := w.Sync(p); err != nil {
		f.Fatal(err)
	}
	b, _ := os.ReadFile(w.path(1))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, segmentName(1)), b, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := Open(dir, Options{SegmentSize: 256}, func(uint64, Type, []byte) error { return nil })
		if err == nil {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return
		}
		if _, err := Repair(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Options{SegmentSize: 256}, func(uint64, Type, []byte) error { return nil }); err != nil {
			t.Fatalf("after a repair: %v", err)
		}
	})
}

// A segment takes little room until much is in it, grows by doubling, and takes what is there on a nearly full disk.
func TestSegmentGrowsAheadOfWrites(t *testing.T) {
	dir, d := t.TempDir(), &faultyDisk{FS: disk.OS}
	w, _ := open(t, dir, Options{FS: d})
	length := func() int64 {
		t.Helper()
		st, err := os.Stat(w.path(w.number))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	var want []string
	rec := strings.Repeat("0123456789", 1000)
	lengths := []int64{length()}
	for range 40 {
		put(t, w, rec)
		want = append(want, rec)
		if n := length(); n != lengths[len(lengths)-1] {
			lengths = append(lengths, n)
		}
	}
	if !slices.Equal(lengths, []int64{headerSize, 64 << 10, 128 << 10, 256 << 10, 512 << 10}) {
		t.Errorf("lengths %v", lengths)
	}
	large := strings.Repeat("l", 200_000)
	d.room = w.offset + 300_000
	put(t, w, large)
	want = append(want, large)
	p, err := w.Append(Samples, []byte(large))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(p); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "grow log segment") {
		t.Errorf("error %v", err)
	}
	if n := length(); n != w.offset {
		t.Errorf("a segment given up has %d bytes, of which %d were written", n, w.offset)
	}
	d.grows = true
	last := w.number
	for range 3 { // the disk is full for a while
		if _, err := w.Rotate(); err != nil {
			t.Fatal(err)
		}
		p, err := w.Append(Samples, []byte("lost"))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Sync(p); !errors.Is(err, ErrLost) {
			t.Errorf("error %v", err)
		}
	}
	d.faults = faults{}
	if _, err := w.Rotate(); err != nil {
		t.Fatal(err)
	}
	put(t, w, "after")
	if w.number != last+1 {
		t.Errorf("%d tries to write left %d segments", 3, w.number-last)
	}
	if _, got := open(t, dir, Options{}); !slices.Equal(got, append(want, "after")) {
		t.Errorf("replayed %d records, want %d", len(got), len(want)+1)
	}
}
