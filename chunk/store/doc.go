// Package store is the only door to the samples of one node. It puts the log, the
// head and the blocks together, and keeps two promises: what Append has accepted
// is there after a crash, and what was appended is read, at once and bit for bit.
//
//	Append ──▶ log ──fsync──▶ done
//	      └──▶ memtable ──freeze──▶ frozen memtable ──flush──▶ blocks ──compact──▶ fewer blocks
//	                                     └── the log behind it is dropped
//	Querier ◀── view: one registry, the memtables, the blocks
//
// # Freezing
//
// The active memtable is frozen when it is full or old. That begins a new log segment,
// and the log repeats the labels of a series the first time that it occurs behind it: so
// each memtable has a log of its own that needs nothing from before, and when its
// blocks are on disk its segments are simply removed. There is no checkpoint.
//
// # Locks
//
// gate is held for reading while a batch goes into the log and the memtable, and for
// writing while they are exchanged, for as long as it takes to begin a log segment. viewMu
// guards what readers see and is held for moments only. They are taken in that order. An append
// holds none of them while it waits for its fsync.
package store
