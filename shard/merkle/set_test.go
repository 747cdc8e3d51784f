package merkle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const hour = int64(time.Hour / time.Millisecond)

// now is an arbitrary time, Unix ms.
const now = int64(1_800_000_000_000)

func put(t testing.TB, s *Set, at int64, key, value string) Record {
	t.Helper()
	r, err := s.Put(at, key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func all(s *Set) []Record {
	var out []Record
	for b := range Buckets {
		out = append(out, s.Bucket(b)...)
	}
	return byKey(out)
}

func TestSetIsAMap(t *testing.T) {
	s := NewSet("a")
	put(t, s, now, "node/1", "x")
	put(t, s, now, "node/2", "")
	put(t, s, now, "setting/1", "y")
	put(t, s, now, "node/1", "z")
	if _, err := s.Delete(now, "setting/1"); err != nil {
		t.Fatal(err)
	}
	if v, ok := s.Get("node/1"); !ok || string(v) != "z" {
		t.Errorf("node/1 is %q, %v", v, ok)
	}
	if v, ok := s.Get("node/2"); !ok || len(v) != 0 {
		t.Errorf("an empty value is %q, %v", v, ok)
	}
	if _, ok := s.Get("setting/1"); ok {
		t.Error("what was deleted is there")
	}
	if r, ok := s.Record("setting/1"); !ok || r.Value != nil {
		t.Errorf("the record of what was deleted is %v, %v", r, ok)
	}
	var keys []string
	for _, r := range s.Range("node/") {
		keys = append(keys, r.Key)
	}
	if !slices.Equal(keys, []string{"node/1", "node/2"}) || s.Len() != 3 || len(s.Range("")) != 2 {
		t.Errorf("the nodes are %v of %d records", keys, s.Len())
	}
}

// TestConvergence merges what several writers wrote, with clocks an hour apart, in random order and more than once.
func TestConvergence(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var sets []*Set
		for i := range 4 {
			sets = append(sets, NewSet(fmt.Sprint("n", i)))
		}
		var log []Record
		for step := range int64(60) {
			i := rng.IntN(len(sets))
			clock := now + step + int64(i)*hour
			key := fmt.Sprint("k", rng.IntN(12))
			var r Record
			var err error
			if rng.IntN(4) == 0 {
				r, err = sets[i].Delete(clock, key)
			} else {
				r, err = sets[i].Put(clock, key, []byte{byte(rng.IntN(3))})
			}
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, r)
			if rng.IntN(3) == 0 {
				if _, err := sets[rng.IntN(len(sets))].Merge(clock, all(sets[i])); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range sets {
			shuffled := slices.Concat(log, log)
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			for chunk := range slices.Chunk(shuffled, 7) {
				if _, err := s.Merge(now, chunk); err != nil {
					t.Fatal(err)
				}
			}
			if changed, err := s.Merge(now, log); len(changed) > 0 || err != nil {
				t.Fatalf("seed %d: the same records again change %v: %v", seed, changed, err)
			}
			if s.Root() != sets[0].Root() || s.Digests() != sets[0].Digests() || !bytes.Equal(s.Encode(), sets[0].Encode()) {
				t.Fatalf("seed %d: sets with the same records differ", seed)
			}
			checkDigests(t, s)
		}
	}
}

// checkDigests compares the digests that were kept up to date with those of a new set.
func checkDigests(t *testing.T, s *Set) {
	t.Helper()
	fresh := NewSet("")
	if _, err := fresh.Merge(now+MaxAhead.Milliseconds(), all(s)); err != nil {
		t.Fatal(err)
	}
	if fresh.Digests() != s.Digests() || fresh.Root() != s.Root() {
		t.Fatal("the digests are not those of the records")
	}
}

func TestOnlyOneBucketDiffers(t *testing.T) {
	a, b := NewSet("a"), NewSet("b")
	for i := range 1000 {
		r := put(t, a, now, fmt.Sprint("k", i), "v")
		if _, err := b.Merge(now, []Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	if a.Root() != b.Root() {
		t.Fatal("equal sets have other roots")
	}
	put(t, a, now, "k7", "w")
	differ := 0
	x, y := a.Digests(), b.Digests()
	for i := range x {
		if x[i] != y[i] {
			differ++
		}
	}
	if a.Root() == b.Root() || differ != 1 {
		t.Errorf("one record differs, and %d buckets do", differ)
	}
}

func TestTheLaterWins(t *testing.T) {
	early, late := NewSet("early"), NewSet("late")
	r := put(t, late, now+hour, "k", "from the late clock")
	if _, err := early.Merge(now, []Record{r}); err != nil {
		t.Fatal(err)
	}
	put(t, early, now, "k", "after it, by the early clock")
	if _, err := late.Merge(now+hour, all(early)); err != nil {
		t.Fatal(err)
	}
	if v, _ := late.Get("k"); string(v) != "after it, by the early clock" {
		t.Errorf("the record is %q", v)
	}
}

func TestTies(t *testing.T) {
	rows := []struct {
		name        string
		loses, wins Record
	}{
		{"version", Record{Key: "k", Version: 1, Origin: "z", Value: []byte("z")}, Record{Key: "k", Version: 2, Origin: "a"}},
		{"origin", Record{Key: "k", Version: 1, Origin: "a", Value: []byte("z")}, Record{Key: "k", Version: 1, Origin: "b"}},
		{"deleted", Record{Key: "k", Version: 1, Origin: "a"}, Record{Key: "k", Version: 1, Origin: "a", Value: []byte{}}},
		{"value", Record{Key: "k", Version: 1, Origin: "a", Value: []byte("a")}, Record{Key: "k", Version: 1, Origin: "a", Value: []byte("b")}},
	}
	for _, row := range rows {
		for _, order := range [][]Record{{row.loses, row.wins}, {row.wins, row.loses}} {
			s := NewSet("")
			if _, err := s.Merge(now, order); err != nil {
				t.Fatal(err)
			}
			if got, _ := s.Record("k"); got.Compare(row.wins) != 0 {
				t.Errorf("%s: %v wins", row.name, got)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	version := func(at int64) uint64 { return uint64(at) << 16 }
	rows := []struct {
		name string
		r    Record
		want string
	}{
		{"no key", Record{Version: 1}, "key"},
		{"long key", Record{Key: strings.Repeat("k", MaxKey+1), Version: 1}, "key"},
		{"long origin", Record{Key: "k", Version: 1, Origin: strings.Repeat("o", MaxOrigin+1)}, "origin"},
		{"large value", Record{Key: "k", Version: 1, Value: make([]byte, MaxValue+1)}, "value"},
		{"no version", Record{Key: "k"}, "version"},
		{"no next version", Record{Key: "k", Version: 1<<64 - 1}, "version"},
		{"next century", Record{Key: "k", Version: version(now + 100*365*24*hour)}, "clock"},
		{"an hour ahead", Record{Key: "k", Version: version(now + hour)}, ""},
		{"a month ahead", Record{Key: "k", Version: version(now + 30*24*hour)}, ""},
		{"1970", Record{Key: "k", Version: 1}, ""},
	}
	for _, row := range rows {
		s := NewSet("a")
		good := Record{Key: "good", Version: 1}
		changed, err := s.Merge(now, []Record{row.r, good})
		if row.want == "" {
			if err != nil || len(changed) != 2 {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), row.want) || len(changed) != 1 {
			t.Errorf("%s: %v, want something about %q; %d records are taken in", row.name, err, row.want, len(changed))
		}
	}
	if _, err := NewSet("a").Merge(now, []Record{{Key: "k", Version: version(now + 100*365*24*hour)}}); !errors.Is(err, ErrFuture) {
		t.Errorf("%v is no ErrFuture", err)
	}
	s := NewSet("a")
	for i := range MaxRecords {
		s.store(Record{Key: fmt.Sprint(i), Version: 1})
	}
	if _, err := s.Put(now, "one more", nil); err == nil {
		t.Error("a full set takes one more record")
	}
	if _, err := s.Put(now, "7", nil); err != nil {
		t.Errorf("a full set does not let a record change: %v", err)
	}
	s = NewSet("a")
	for i := range MaxBytes/MaxValue + 1 {
		_, err := s.Put(now, fmt.Sprint(i), make([]byte, MaxValue))
		if full := i == MaxBytes/MaxValue; (err != nil) != full && i < MaxBytes/MaxValue-1 {
			t.Fatalf("record %d: %v", i, err)
		} else if full && err == nil {
			t.Error("a set has no end")
		}
	}
	if _, err := s.Delete(now, "0"); err != nil {
		t.Errorf("a full set does not let a record go: %v", err)
	}
}
