// Package compact decides which blocks to merge and which to drop, and merges them.
//
// [Plan], [Expired] and [Superseded] are pure: they look at what blocks say of
// themselves and at a time that the caller gives. [Merge] reads blocks and writes one.
//
// # The plan
//
// Time is cut into aligned ranges, each four times the one below: 2 h, 8 h, 32 h and on. A
// block belongs to the ranges that hold it whole. When a range is over and no
// block has come into it for a while, its blocks become one. Until then, and
// when late data trickles into an old range, blocks of like size are merged a few at a time, so that
// their number grows with the logarithm of the data and a large block is not rewritten
// for the sake of a small one. A backfill, which leaves many blocks in a range that is over, is merged at once, by the
// shorter ranges first, so that no merge has too many blocks.
//
//	2 h   ▂▂▂ ▂▂  ▂▂▂▂▂ ▂      flushed, merged a few at a time
//	      ─┬─ ─┬─ ──┬── ┬
//	8 h    └───┴────┴───┘       one block, when the eight hours are over
//	32 h   └─ four of them ─┘
//
// Who gives [MergeOptions] partitions to keep has the others' series dropped on the way.
//
// # Downsampling
//
// [Downsample] makes the statistics of a day's samples, a bucket of 5 minutes or of an hour each, when the day is over, and anew
// when what it was made of has changed. A block says which days it covers, and of which generation of samples.
package compact
