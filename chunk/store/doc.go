// Package store is the only door to the samples of one node. It puts the log, the
// head and the blocks together, and keeps two promises: what Append has accepted
// is there after a crash, and what was appended is read, at once and bit for bit.
//
//	Append ──▶ log ──fsync──▶ done
//	      └──▶ memtable ──freeze──▶ frozen memtable ──flush──▶ blocks ──compact──▶ fewer blocks
//	                                     └── the log behind it is dropped
//	Querier ◀── view: the memtables and their registries, the blocks
//
// # Freezing
//
// The active memtable is frozen when it is full or old. That begins a new log segment,
// and the log repeats the labels of a series the first time that it occurs behind it: so
// each memtable has a log of its own that needs nothing from before, and when its
// blocks are on disk its segments are simply removed. There is no checkpoint.
//
// Replicas get the same writes, and would freeze their memtables at the same moment. So the first one after a start, and after a flush that was asked
// for, is full and old at a part of what Options allow, between half and all of it, which the name of the node says. The next ones have all of it:
// replicas that are out of step once stay so.
//
// # Series that come and go
//
// A memtable has the registry in which its series were found, and the next one goes on with the same, unless more than a quarter
// of its series have been silent for half an hour: then it begins with a new one, in which only those are that go on. So a
// series that is gone leaves memory with the last memtable that knew it, and is in the blocks.
//
// # What nobody waits for
//
// Flushes, merges and copies of what another node has rest between short slices of work (package duty). A flush has as long as the next memtable
// takes to fill up: it begins with a tenth of its time, takes more the fuller memory is, and all of it when that is a quarter full or somebody waits.
// It makes the digests of its blocks, too, where somebody asks for digests, and gives the log back to the disk in steps: whole segments
// make the next sync wait. Digests that are asked for rest if the context says so, until somebody else waits for some.
//
// # Deleting
//
// A delete is a line in tombstones.json, synced before it is answered. Queries leave out what it hides, of blocks
// that are older than it; memory is flushed first. Merges leave it out for good, and a tombstone goes when no block is older.
//
// A delete with a name is done once: the same file remembers it, until it is told to forget.
//
// # Partitions
//
// Each series is in one partition (see package shard), which its record in memory and its row in a block say. Readers whose context is
// within some partitions see these alone. Merges leave out what is not owned, once somebody has said what is; a block of which more than
// a small part is foreign is written anew.
//
// # Digests
//
// Replicas compare digests by partition and window. A digest is the sum over all samples as a query reads them, so that it stays the same when
// memory is flushed and blocks are merged:
//
//	digest = what was counted once ─ sums of the series then   (ledger)
//	       + sums of the series now                            (registry)
//
// Appending a sample that is later than all of its series adds to the sum, and changes nothing else. Anything else (late samples, other values
// at the same time, deletes, retention) makes the leaf unknown, and it is counted anew when somebody asks: blocks keep their own
// digests, which add up, so that only series are read whose samples lie in several places at the same times. A partition
// that lies in one block alone in a window needs no ledger. Nothing of this costs anything until somebody asks for the first time.
//
// # Damage
//
// A block in which a checksum fails, at the start or in a query, is set aside, and what met it is tried again without; a damaged
// index is made anew from the block. The status names what was set aside.
//
// # Locks
//
// ledger.one is held while digests are counted. gate is held for reading while a batch goes into the log and the memtable, and for
// writing while they are exchanged, for as long as it takes to begin a log segment. viewMu
// guards what readers see and is held for moments only. They are taken in that order. An append
// holds none of them while it waits for its fsync.
package store
