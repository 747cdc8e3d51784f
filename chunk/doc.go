// Package chunk holds what is true of samples wherever they lie: the chunk and
// its statistics, and the rule that decides between two samples of one series
// at one time. It is pure: no files, no sockets, no clocks.
//
// # Same series, same timestamp
//
// Replicas, retries and late devices send a sample more than once. Which one
// stays is decided by the values alone, so that every node decides alike in
// whatever order they arrive: a native histogram beats a number, a number beats NaN, NaN
// beats a stale marker, and of two numbers the larger wins. See [Prefer] and [Merge].
//
// # Statistics
//
// [Stats] of a chunk stand beside it in files, and those of adjacent chunks add up
// by [Stats.Add]; so a question about a whole chunk is answered without decoding it.
package chunk
