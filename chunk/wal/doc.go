// Package wal is the write-ahead log: what has been appended and synced is there
// after a crash. It knows bytes and positions; what its records mean is said in
// record.go.
//
// # Files
//
// The log is a folder of segments, 000000000001.wal and on. A segment is a header
// and frames, one an append:
//
//	header  │ "MTWAL001" │ number u64 │ flags u32 │ crc u32 │
//	frame   │ crc u32 │ length u32 │ type u8 │ length bytes … │
//
// all little endian. The crc (CRC-32C) covers all that follows it in the frame.
// Every write begins with a frame of type Commit, whose record is the offset in this
// segment up to which everything had been synced by then. A segment's file grows
// ahead of its writes, with zeros and by doubling, so that few syncs change its size.
//
// # Crashes
//
// What was never synced may be torn, and is cut off at the next start: it was never
// acknowledged. A bad frame that some later Commit says was synced, or one in any segment but
// the last, was acknowledged once: the start stops with a [*CorruptError], and so it does where a single bit of the last write has
// flipped. [Repair] flips single bits back, leaves out what is damaged worse, and sets the damaged segment aside.
//
// When a write or a sync fails, whoever waited for it is told so, the segment is left as
// it is, and a flag in the next one's header says that the one before may end torn.
//
// # Commits
//
// Append copies a record into memory; Sync makes everything up to a position
// durable, with one write and one fdatasync for all who wait. Whoever comes first does the
// work, and the others find it done: there is no goroutine here.
package wal
