package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk/powercut"
)

// The power goes at any moment, and with it any bytes and names that were not synced: the log opens by itself, and what was
// acknowledged is replayed, in order; of the rest a beginning may be.
func TestPowerCuts(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		dir, acked := t.TempDir(), []string{}
		n := 0
		for range 6 {
			d, err := powercut.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(4) > 0 {
				d.CutAfter(1 + r.IntN(60))
			}
			sent := slices.Clone(acked)
			for w := start(t, seed, dir, d, &acked, sent); w != nil; {
				var p Position
				for range 1 + r.IntN(3) {
					rec := fmt.Sprint("record ", n)
					n++
					sent = append(sent, rec)
					if p, err = w.Append(Samples, append([]byte(rec), make([]byte, r.IntN(200))...)); err != nil {
						t.Fatal(err)
					}
				}
				if err := w.Sync(p); err != nil {
					break
				}
				acked = slices.Clone(sent)
				switch r.IntN(12) {
				case 0:
					if number, err := w.Rotate(); err == nil && w.Drop(number, func() {}) == nil {
						acked, sent = nil, nil
					} else if err == nil {
						acked = nil // what was to go may have
					}
				case 1:
					d.Cut()
				}
			}
			rest := t.TempDir()
			if err := d.Remains(r, rest); err != nil {
				t.Fatal(err)
			}
			dir = rest
			_ = start(t, seed, dir, nil, &acked, sent).Close()
		}
	}
}

// start opens a log and notes what it replays, which is all that was acknowledged and nothing but what was sent.
func start(t *testing.T, seed uint64, dir string, d *powercut.Disk, acked *[]string, sent []string) *WAL {
	t.Helper()
	o := Options{SegmentSize: 1000}
	if d != nil {
		o.FS = d
	}
	var got []string
	w, err := Open(dir, o, func(_ uint64, _ Type, rec []byte) error {
		got = append(got, string(trimZeros(rec)))
		return nil
	})
	if d != nil && errors.Is(err, powercut.ErrOff) {
		return nil
	}
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	for i, rec := range got {
		if !slices.Contains(sent, rec) || i > 0 && slices.Index(sent, rec) <= slices.Index(sent, got[i-1]) {
			t.Fatalf("seed %d: replayed %q, sent %q", seed, got, sent)
		}
	}
	for _, rec := range *acked {
		if !slices.Contains(got, rec) {
			t.Fatalf("seed %d: lost %q: %q", seed, rec, got)
		}
	}
	*acked = got
	return w
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}
