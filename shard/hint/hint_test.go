package hint

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/disk/powercut"
)

var start = time.UnixMilli(1_700_000_000_000)

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return start }
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hint(body string) Hint { return Hint{Time: start.UnixMilli(), Body: []byte(body)} }

func add(t testing.TB, s *Store, peer string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if err := s.Append(peer, hint(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// replay collects what a peer gets.
func replay(t testing.TB, s *Store, peer string) (bodies []string) {
	t.Helper()
	err := s.Replay(context.Background(), peer, func(_ context.Context, h Hint) error {
		bodies = append(bodies, string(h.Body))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bodies
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "a", "1", "2")
	add(t, s, "b", "x")
	if got := s.Peers(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("peers %q", got)
	}
	if got, want := s.Pending("a"), int64(2*(frameHead+1)); got != want {
		t.Errorf("%d bytes wait, want %d", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append("a", hint("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	s = open(t, dir, Options{})
	add(t, s, "a", "3", "")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"1", "2", "3", ""}) {
		t.Errorf("replayed %q", got)
	}
	if got := replay(t, s, "a"); len(got) > 0 {
		t.Errorf("replayed again: %q", got)
	}
	if s.Pending("a") != 0 || !slices.Equal(s.Peers(), []string{"b"}) {
		t.Errorf("%d bytes wait, of %q", s.Pending("a"), s.Peers())
	}
	add(t, s, "a", "4")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"4"}) {
		t.Errorf("replayed %q", got)
	}
	replay(t, s, "b")
	if files, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(files) > 0 || s.total.Load() != 0 {
		t.Errorf("%q remain, %d bytes", files, s.total.Load())
	}
	if got := replay(t, s, "nobody"); got != nil {
		t.Errorf("nobody got %q", got)
	}
}

// A peer that goes away in the middle gets the rest, from the same hint on, when it is back.
func TestReplayGoesOn(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	add(t, s, "a", "1", "2", "3")
	away := errors.New("away")
	err := s.Replay(context.Background(), "a", func(_ context.Context, h Hint) error {
		if string(h.Body) == "2" {
			return away
		}
		return nil
	})
	if !errors.Is(err, away) {
		t.Fatal(err)
	}
	if got, want := s.Pending("a"), int64(2*(frameHead+1)); got != want {
		t.Errorf("%d bytes wait, want %d", got, want)
	}
	add(t, s, "a", "4")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("replayed %q", got)
	}
	add(t, s, "a", "5")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Replay(ctx, "a", func(context.Context, Hint) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a replay that is cancelled: %v", err)
	}
}

func TestManySegments(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var want []string
	for i := range 40 {
		body := fmt.Sprintf("%d %s", i, bytes.Repeat([]byte{'x'}, 1<<20))
		want = append(want, body)
		add(t, s, "a", body)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "a", "*.hint")); len(files) != 5 {
		t.Errorf("%d segments", len(files))
	}
	if got := replay(t, s, "a"); !slices.Equal(got, want) {
		t.Errorf("%d hints came back, want %d", len(got), len(want))
	}
}

func TestFull(t *testing.T) {
	now := start
	s := open(t, t.TempDir(), Options{MaxBytes: 3 * (frameHead + 1), MaxAge: time.Hour, Now: func() time.Time { return now }})
	add(t, s, "a", "1")
	add(t, s, "b", "2", "3")
	if err := s.Append("a", hint("4")); !errors.Is(err, ErrFull) {
		t.Fatalf("a full store: %v", err)
	}
	if got := testutil.ToFloat64(s.dropped.WithLabelValues(dropFull)); got != frameHead+1 {
		t.Errorf("%v bytes are counted as dropped", got)
	}
	replay(t, s, "b")
	add(t, s, "a", "5")
	now = now.Add(61 * time.Minute) // what is too old makes room
	for i := range 3 {
		if err := s.Append("c", Hint{Time: now.UnixMilli(), Body: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := testutil.ToFloat64(s.dropped.WithLabelValues(dropOld)); got != 2*(frameHead+1) {
		t.Errorf("%v bytes are counted as old", got)
	}
	if got := s.Peers(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("peers %q", got)
	}
}

// Hints that are too old are not sent, though newer ones in the same segment are.
func TestOldHints(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxAge: time.Hour})
	if err := s.Append("a", Hint{Time: start.Add(-2 * time.Hour).UnixMilli(), Body: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	add(t, s, "a", "new")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"new"}) {
		t.Errorf("replayed %q", got)
	}
}

func TestForget(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "a", "1", "2")
	n := 0
	err := s.Replay(context.Background(), "a", func(context.Context, Hint) error {
		n++
		return s.Forget("a") // in the middle of it
	})
	if err != nil || n != 1 {
		t.Errorf("%d hints were sent of a node that was forgotten, %v", n, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); !errors.Is(err, os.ErrNotExist) || s.total.Load() != 0 || s.Peers() != nil {
		t.Errorf("something remains: %v, %d bytes, %q", err, s.total.Load(), s.Peers())
	}
	add(t, s, "a", "3")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("replayed %q", got)
	}
}

func TestNamesOfPeers(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, peer := range []string{"", ".", "..", "../x", "a/b", "a\x00", "ü"} {
		if err := s.Append(peer, hint("x")); err == nil {
			t.Errorf("a node called %q has hints", peer)
		}
	}
	add(t, s, "0f9c3b1e-6f1c-4e5a-9d59-0c1f6ad5e0aa", "x")
}

// damaged opens a store of three hints whose file was changed, and returns what is replayed.
func damaged(t *testing.T, change func(b []byte) []byte) []string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, "a", "first", "second", "third")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a", "000000000001.hint")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o644); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	got := replay(t, s, "a")
	if n := testutil.ToFloat64(s.dropped.WithLabelValues(dropDamaged)); (n > 0) != (len(got) < 3) {
		t.Errorf("%v bytes are counted as damaged, and %q was replayed", n, got)
	}
	if s.Pending("a") != 0 {
		t.Errorf("%d bytes remain", s.Pending("a"))
	}
	return got
}

// Whatever byte is damaged or missing, only the hint in which it lies is lost.
func TestDamage(t *testing.T) {
	all := []string{"first", "second", "third"}
	ends := []int{frameHead + 5, 2*frameHead + 11, 3*frameHead + 16}
	for i := range ends[2] {
		hit, _ := slices.BinarySearch(ends, i+1)
		want := slices.Delete(slices.Clone(all), hit, hit+1)
		if got := damaged(t, func(b []byte) []byte { b[i] ^= 0x10; return b }); !slices.Equal(got, want) {
			t.Errorf("byte %d: replayed %q", i, got)
		}
		if i == 0 || slices.Contains(ends, i) {
			continue
		}
		if got := damaged(t, func(b []byte) []byte { return b[:i] }); !slices.Equal(got, all[:hit]) {
			t.Errorf("cut at %d: replayed %q", i, got)
		}
	}
}

func TestGolden(t *testing.T) {
	const want = "4d5448315bb33be4030000000066863d8b010000616263"
	got := hex.EncodeToString(appendFrame(nil, Hint{Time: 1_697_544_300_032, Body: []byte("abc")}))
	if got != want {
		t.Errorf("a frame is %s, want %s", got, want)
	}
}

// The power goes at any moment: what was synced and not sent is replayed, and everything that is replayed was once appended.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 5))
		dir := t.TempDir()
		synced, sent := map[string]bool{}, map[string]bool{}
		for n := 0; n < 60; {
			d, err := powercut.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			d.CutAfter(1 + r.IntN(40))
			if s, err := Open(dir, Options{FS: d, Now: func() time.Time { return start }}); err == nil {
				n = work(s, r, n, synced, sent)
			}
			rest := t.TempDir()
			if err := d.Remains(r, rest); err != nil {
				t.Fatal(err)
			}
			dir = rest
		}
		s := open(t, dir, Options{})
		for _, peer := range []string{"a", "b"} {
			for _, body := range replay(t, s, peer) {
				if !sent[body] {
					t.Fatalf("seed %d: %q was never appended", seed, body)
				}
				delete(synced, body)
			}
		}
		for body := range synced {
			t.Errorf("seed %d: %q is lost", seed, body)
		}
	}
}

// work does this and that until the power is off. synced becomes what must be replayed; the sum of
// all that was appended is in sent.
func work(s *Store, r *rand.Rand, n int, synced, sent map[string]bool) int {
	var open []string
	for {
		switch peer := string('a' + byte(r.IntN(2))); r.IntN(6) {
		case 0:
			if s.Sync() != nil {
				return n
			}
			for _, body := range open {
				synced[body] = true
			}
			open = nil
		case 1:
			err := s.Replay(context.Background(), peer, func(_ context.Context, h Hint) error {
				delete(synced, string(h.Body))
				open = slices.DeleteFunc(open, func(o string) bool { return o == string(h.Body) })
				return nil
			})
			if err != nil {
				return n
			}
		default:
			body := fmt.Sprintf("%s%d", peer, n)
			n++
			sent[body] = true
			if s.Append(peer, hint(body)) != nil {
				return n
			}
			open = append(open, body)
		}
	}
}

// A disk that fails takes the hint and nothing else, and when it is well again all goes on.
func TestDiskFails(t *testing.T) {
	sick := &sickDisk{FS: disk.OS}
	s := open(t, t.TempDir(), Options{FS: sick})
	add(t, s, "a", "1")
	sick.fail.Store(true)
	for range 5 {
		if err := s.Append("a", hint("2")); err == nil {
			t.Fatal("no error")
		}
	}
	if files, _ := filepath.Glob(filepath.Join(s.dir, "a", "*")); len(files) != 1 {
		t.Errorf("%q remain", files)
	}
	sick.fail.Store(false)
	add(t, s, "a", "3")
	if got := replay(t, s, "a"); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("replayed %q", got)
	}
	if s.total.Load() != 0 {
		t.Errorf("%d bytes are still counted", s.total.Load())
	}
}

func TestManyAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	const writers, each = 4, 200
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				add(t, s, "a", fmt.Sprintf("%d-%d", w, i))
			}
		})
	}
	take := func(_ context.Context, h Hint) error {
		mu.Lock()
		defer mu.Unlock()
		got[string(h.Body)]++
		return nil
	}
	for range 2 {
		wg.Go(func() {
			for range 50 {
				if err := s.Replay(context.Background(), "a", take); err != nil {
					t.Error(err)
				}
				_ = s.Sync()
				s.expire()
			}
		})
	}
	wg.Wait()
	if err := s.Replay(context.Background(), "a", take); err != nil {
		t.Fatal(err)
	}
	if len(got) != writers*each {
		t.Errorf("%d hints came back of %d", len(got), writers*each)
	}
	for body, n := range got {
		if n != 1 {
			t.Errorf("%s came %d times", body, n)
		}
	}
}

func FuzzFrames(f *testing.F) {
	two := appendFrame(appendFrame(nil, hint("a")), hint("bc"))
	f.Add(two)
	f.Add(two[:len(two)-1])
	f.Add(append([]byte("MTH1xx"), two...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for at := 0; at < len(b); {
			h, skipped, size := nextFrame(b[at:])
			if skipped+size <= 0 || at+skipped+size > len(b) {
				t.Fatalf("%d bytes skipped and %d read at %d of %d", skipped, size, at, len(b))
			}
			if size > 0 && !bytes.Equal(appendFrame(nil, h), b[at+skipped:at+skipped+size]) {
				t.Fatalf("%q does not come back", h.Body)
			}
			at += skipped + size
		}
	})
}
