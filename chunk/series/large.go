package series

import (
	"fmt"
	"slices"
)

// maxHistogram is how many spans, buckets and bounds a histogram may have. A block takes no chunk of more than 16 MiB, be it of one.
const maxHistogram = 1 << 16

// RejectLarge takes histograms out of the batch that no block takes, and counts them. Whoever answers for a batch calls it: a node that stores a part of it
// for another has no word for a histogram that is rejected alone.
func (b *Batch) RejectLarge() {
	b.Histograms = slices.DeleteFunc(b.Histograms, func(h Histogram) bool {
		if b.Series[h.Series].Bad || h.Size() <= maxHistogram {
			return false
		}
		b.RejectHistogram("histogram_size", fmt.Errorf("the histogram of %s at %d has %d spans and buckets, more than %d", KeyText(b.Series[h.Series].Key), h.T, h.Size(), maxHistogram))
		return true
	})
}
