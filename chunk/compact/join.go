package compact

import "github.com/minitrue/minitrue/chunk"

// small is what a chunk has fewer samples than to be joined to a neighbour.
const small = chunk.MaxSamples / 2

// join appends chunks, which do not overlap, to dst; small ones become one with their neighbours as
// long as that has at most chunk.MaxSamples and lies in one window. Merging what does not overlap puts one
// behind the other, with the counter reset hints at the seams taken back.
func join(dst, chunks []chunk.Chunk) ([]chunk.Chunk, error) { return chunk.Regroup(dst, chunks, run) }

// run returns how many of the first chunks are to become one.
func run(chunks []chunk.Chunk) int {
	first := chunks[0]
	switch first.Encoding {
	case chunk.XOR, chunk.Histogram, chunk.FloatHistogram:
	default:
		return 1
	}
	total, n := first.Samples, 1
	for ; n < len(chunks); n++ {
		c, prev := chunks[n], chunks[n-1]
		total += c.Samples
		fits := total <= chunk.MaxSamples && c.Encoding == first.Encoding && chunk.Window(first.MinTime) == chunk.Window(c.MaxTime)
		if !fits || c.Samples >= small && prev.Samples >= small {
			break
		}
	}
	return n
}
