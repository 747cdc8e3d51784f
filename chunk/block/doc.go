// Package block is an immutable run of chunks on disk: one folder, named by a
// ULID, that is written beside, fsynced and renamed into place, and never changed.
//
//	<root>/01J.../
//	  meta.json        what the block is, and the sizes and checksums of its files
//	  series.parquet   one row a series, sorted by labels
//	  chunks.parquet   one row a chunk, sorted by series and time
//	  index            labels → series → rows → bytes; derived from the two
//
// The Parquet files are the block: any reader of Parquet understands them. The
// index is a cache of them, rebuilt when it is missing, damaged or of another version.
//
// # How a read finds its bytes
//
// Every column of chunks.parquet that a query touches is written PLAIN,
// uncompressed and without nulls, one page a column and row group. So a
// statistic of row r is eight bytes at a known place of the mapped file, and a chunk's data lies in
// it untouched:
//
//	┌──────┬────────────── row group 0 ──────────────┬─ row group 1 ─┬────────┐
//	│ PAR1 │ header │ series … │ header │ min_time … │ header │ …    │ footer │
//	└──────┴────────┴──────────┴────────┴────────────┴────────┴──────┴────────┘
//
// The footer says how each column is encoded, and a reader that does not know an
// encoding refuses the file with a sentence. A page's checksum is verified when its row
// group is first touched, a chunk's each time it is read, the index and the
// ids when the block is opened; [Block.Verify] checks everything else too.
//
// # Lifetimes
//
// [Open] returns a block with one reference, its owner's. [Block.Retain] adds one,
// [Block.Release] drops one, and the files are unmapped when the last is gone. What
// [Block.Data] returns lies in the map and lives as long as the caller's reference.
package block
