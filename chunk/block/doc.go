// Package block is an immutable run of chunks on disk: one folder, named by a
// ULID, that is written beside, fsynced and renamed into place, and never changed.
//
//	<root>/01J.../
//	  meta.json        what the block is, and the sizes and checksums of its files
//	  series.parquet   one row a series, sorted by labels
//	  chunks.parquet   one row a chunk, sorted by series and time
//	  index            labels → series → rows → bytes; derived from the two
//	  digests          digests by window and partition; derived, where somebody asked for them and it is worth its room
//
// The Parquet files are the block: any reader of Parquet understands them. The
// index is a cache of them, rebuilt when it is missing, damaged or of another version.
//
// # How a read finds its bytes
//
// The index says in which rows the chunks of a series are. The columns of statistics of a row group are one page each:
// they are read together, decompressed (zstd) and kept as plain arrays in the [Cache], so that a statistic of a row is eight
// bytes at a known place. The chunks' data is in pages of its own, which are read one at a time. Times that many chunks of a row
// group share, as those of a device's series, are in a dictionary, once.
//
//	┌──────┬───────────────── row group 0 ────────────────┬─ row group 1 ─┬────────┐
//	│ PAR1 │ header │ min_time … │ times │ data │ data │ … │ header │ …    │ footer │
//	└──────┴────────┴────────────┴───────┴──────┴──────┴───┴───────────────┴────────┘
//
// The footer says how each column is encoded, and a reader that does not know an
// encoding refuses the file with a sentence. A page's checksum is verified each time that it is decompressed; the index when the block
// is opened, and what is read of it again every second or so, since the system may have read it from the disk anew;
// [Block.Verify] checks everything else too.
//
// # Lifetimes
//
// [Open] returns a block with one reference, its owner's. [Block.Retain] adds one,
// [Block.Release] drops one, and the files are unmapped when the last is gone. What was decompressed is Go's, and lives as
// long as somebody has it, though the cache has forgotten it.
package block
