package shard

import (
	"cmp"

	"github.com/minitrue/minitrue/chunk/series"
)

// WindowMillis is how long a window is: digests are kept, and data is repaired, by partition and window.
const WindowMillis = 2 * 60 * 60 * 1000

// Window is the start of the window in which a time lies, both in ms.
func Window(t int64) int64 {
	w := t - t%WindowMillis
	if w > t {
		w -= WindowMillis
	}
	return w
}

// Leaf is the digest of the samples of one partition in one window.
type Leaf struct {
	Partition uint16
	Window    int64 // its start, ms
	Digest    series.Digest
}

// Compare orders leaves by partition and window.
func (l Leaf) Compare(o Leaf) int {
	return cmp.Or(cmp.Compare(l.Partition, o.Partition), cmp.Compare(l.Window, o.Window))
}
