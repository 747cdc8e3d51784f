package replicate

import (
	"testing"

	"github.com/minitrue/minitrue/shard/cluster"
)

// A write that cannot be read is left out, and what comes after it arrives.
func TestUnreadable(t *testing.T) {
	other := newOther(t)
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, other.URL)
	for _, message := range []string{"\x0a\x05abc", "\x0a\x03\x0a\x09a"} {
		if err := r.keep([]byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, r, batchOf(3, 1, 1))
	start(t, r)
	until(t, "the rest arrives", func() bool { return other.has() == 3 })
}

func FuzzMessage(f *testing.F) {
	_ = cluster.Encode(batchOf(3, 1, 1), func(m []byte) error { f.Add(m); return nil })
	f.Add([]byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if eachPart(b, func(p part) { n += len(p.bytes) }) == nil && n != len(b) {
			t.Errorf("%d bytes of %d", n, len(b))
		}
	})
}
