// Package head holds the recent samples of a node in memory: which series there
// are, and what has not been written to a block yet.
//
// It has two parts with two lifetimes. The [Registry] maps label sets to small dense
// refs and answers matchers. A [Memtable] holds the chunks of those series since the
// last freeze; it is written out as blocks and dropped as a whole. A registry lives
// as long as the memtables whose refs are its own.
//
//	key ──hash──▶ table ──▶ series record ──▶ label pairs ──▶ postings
//	               ref ───▶ memtable page ──▶ entry ──▶ words of the open chunk, 56 bytes a piece
//	                                           ├──▶ closed chunks, with statistics
//	                                           └──▶ late samples, as they came
//
// While somebody wants digests, a registry has an account of each series: what the samples that came in time order add to the
// digest of its partition and window. It costs some ten nanoseconds a sample. What cannot be added is told to a [Ledger].
//
// Everything that grows with series or samples lies outside Go's heap, in memory
// mapped in slabs and without pointers, so that the garbage collector neither
// scans it nor keeps a second copy's worth of room for it.
package head
