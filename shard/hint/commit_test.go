package hint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/disk/powercut"
)

var followed = Options{Commit: true, Tail: true}

// The segment that is written stays, and a new process goes on where the last one was.
func TestTailIsRemembered(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, followed)
	for i := range 5 {
		add(t, s, "a", fmt.Sprint(i))
		if got := replay(t, s, "a"); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Errorf("replayed %q", got)
		}
		if files, _ := filepath.Glob(filepath.Join(dir, "a", "*.hint")); len(files) != 1 || s.Pending("a") != 0 {
			t.Errorf("%d segments, %d bytes wait", len(files), s.Pending("a"))
		}
	}
	add(t, s, "a", "5", "6")
	away := errors.New("away")
	err := s.Replay(context.Background(), "a", func(_ context.Context, h Hint) error {
		if string(h.Body) == "6" {
			return away
		}
		return nil
	})
	if !errors.Is(err, away) {
		t.Fatal(err)
	}
	// The process is killed: nothing is closed.
	s = open(t, dir, followed)
	add(t, s, "a", "7")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"6", "7"}) {
		t.Errorf("replayed %q", got)
	}
	for range 3 { // a new segment is none of which something is remembered
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, followed)
		if got := replay(t, s, "a"); got != nil {
			t.Errorf("replayed again: %q", got)
		}
	}
	add(t, s, "a", "8")
	s = open(t, dir, followed)
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"8"}) {
		t.Errorf("replayed %q", got)
	}
}

// When all segments are gone, the next one gets a number of which nothing is remembered.
func TestMarkOutlivesItsSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, followed)
	add(t, s, "a", "1")
	for range 2 {
		replay(t, s, "a")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, followed)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "a", "*.hint")); len(files) != 0 {
		t.Fatalf("%q remain", files)
	}
	add(t, s, "a", "2")
	if got := replay(t, open(t, dir, followed), "a"); !slices.Equal(got, []string{"2"}) {
		t.Errorf("replayed %q", got)
	}
}

// A mark that is damaged, or of another segment, has things sent again and never left out.
func TestMarkIsDamaged(t *testing.T) {
	for i := range markSize + 1 {
		dir := t.TempDir()
		s := open(t, dir, followed)
		add(t, s, "a", "1")
		replay(t, s, "a")
		add(t, s, "a", "2")
		path := filepath.Join(dir, "a", markFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i < markSize {
			b[i] ^= 4
		} else {
			b = b[:7]
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := replay(t, open(t, dir, followed), "a"); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("byte %d: replayed %q", i, got)
		}
	}
}

// A small store must not be full of what was sent.
func TestTailLeavesRoom(t *testing.T) {
	s := open(t, t.TempDir(), Options{Commit: true, Tail: true, MaxBytes: 1000})
	for i := range 200 {
		add(t, s, "a", fmt.Sprintf("number %d", i))
		replay(t, s, "a")
		if n := s.total.Load(); n > 125+frameHead+16 {
			t.Fatalf("%d bytes are stored of which all were sent", n)
		}
	}
}

func TestReplayTogether(t *testing.T) {
	s := open(t, t.TempDir(), followed)
	for i := range 10 {
		add(t, s, "a", fmt.Sprint(i))
	}
	var got []string
	err := s.ReplayTogether(context.Background(), "a", 4*(frameHead+1), func(_ context.Context, hs []Hint) error {
		bodies := ""
		for _, h := range hs {
			bodies += string(h.Body)
		}
		got = append(got, bodies)
		return nil
	})
	if err != nil || !slices.Equal(got, []string{"0123", "4567", "89"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// countingDisk counts syncs, which take a while, and fails them when it is told to.
type countingDisk struct {
	disk.FS
	syncs atomic.Int64
	fail  atomic.Bool
}

func (d *countingDisk) Create(path string) (disk.File, error) {
	f, err := d.FS.Create(path)
	return &countingFile{f, d}, err
}

type countingFile struct {
	disk.File
	d *countingDisk
}

func (f *countingFile) Sync() error {
	f.d.syncs.Add(1)
	if f.d.fail.Load() {
		return errSick
	}
	time.Sleep(2 * time.Millisecond)
	return f.File.Sync()
}

// One sync serves all who wait for it.
func TestCommitsAreGrouped(t *testing.T) {
	d := &countingDisk{FS: disk.OS}
	s := open(t, t.TempDir(), Options{Commit: true, Tail: true, FS: d})
	const writers, each = 32, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				add(t, s, "a", fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	wg.Wait()
	if n := d.syncs.Load(); n < each || n > writers*each/2 {
		t.Errorf("%d syncs for %d appends by %d at once", n, writers*each, writers)
	}
	if got := replay(t, s, "a"); len(got) != writers*each {
		t.Errorf("%d hints came back", len(got))
	}
}

// A sync that fails is an error to all who waited, whatever the disk says later; then a new file is begun.
func TestSyncFails(t *testing.T) {
	d := &countingDisk{FS: disk.OS}
	dir := t.TempDir()
	s := open(t, dir, Options{Commit: true, Tail: true, FS: d})
	add(t, s, "a", "1")
	d.fail.Store(true)
	for _, body := range []string{"2", "3"} {
		if err := s.Append("a", hint(body)); !errors.Is(err, errSick) {
			t.Fatalf("append %s: %v", body, err)
		}
	}
	d.fail.Store(false)
	add(t, s, "a", "4")
	if files, _ := filepath.Glob(filepath.Join(dir, "a", "*.hint")); len(files) != 3 {
		t.Errorf("%d segments, want those of 1 and 2, of 3, and of 4", len(files))
	}
	if got := replay(t, s, "a"); !slices.Contains(got, "1") || !slices.Contains(got, "4") {
		t.Errorf("replayed %q", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.total.Load(); n < 0 || n > 100 {
		t.Errorf("%d bytes are counted", n)
	}
}

// The power goes at any moment: what was acknowledged and not sent is replayed.
func TestPowerCutsOfCommits(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 6))
		dir, owed, n := t.TempDir(), map[string]bool{}, 0
		take := func(_ context.Context, hs []Hint) error {
			for _, h := range hs {
				delete(owed, string(h.Body))
			}
			return nil
		}
		for n < 100 {
			d, err := powercut.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			d.CutAfter(1 + r.IntN(60))
			o := Options{Commit: true, Tail: true, MaxBytes: 4000, FS: d, Now: func() time.Time { return start }}
			s, err := Open(dir, o)
			for err == nil {
				if r.IntN(4) == 0 {
					err = s.ReplayTogether(context.Background(), "a", 100, take)
					continue
				}
				body := fmt.Sprint(n)
				n++
				if err = s.Append("a", hint(body)); err == nil {
					owed[body] = true
				}
				if errors.Is(err, ErrFull) {
					err = nil
				}
			}
			rest := t.TempDir()
			if err := d.Remains(r, rest); err != nil {
				t.Fatal(err)
			}
			dir = rest
		}
		if err := open(t, dir, followed).ReplayTogether(context.Background(), "a", 100, take); err != nil {
			t.Fatal(err)
		}
		for body := range owed {
			t.Errorf("seed %d: %q is lost", seed, body)
		}
	}
}
