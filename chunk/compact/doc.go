// Package compact decides which blocks to merge and which to drop, and merges them.
//
// [Plan], [Expired] and [Superseded] are pure: they look at what blocks say of
// themselves and at a time that the caller gives. [Merge] reads blocks and writes one.
//
// # The plan
//
// Time is cut into aligned ranges, each a multiple of the one below: 2 h, 12 h, 3 d. A
// block belongs to the ranges that hold it whole. When a range is over and no
// block has come into it for a while, its blocks become one. Until then, and
// when late data trickles into an old range, blocks of like size are merged a few at a time, so that
// their number grows with the logarithm of the data and a large block is not rewritten
// for the sake of a small one.
//
//	2 h   ▂▂▂ ▂▂  ▂▂▂▂▂ ▂  ▂▂      flushed, merged a few at a time
//	      ─┬─ ─┬─ ──┬── ┬  ─┬─
//	12 h   └───┴────┴───┴───┘      one block, when the twelve hours are over
//	3 d    └─── six of them ───┘
package compact
