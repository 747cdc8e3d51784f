// Package verify reads a data folder and says what in it is not what was written: checksums, orders and statistics of
// blocks, their indexes beside the files that they are made of, the write-ahead log, and the same of snapshots.
//
//	data folder ──▶ Folder ──▶ Report{Findings: file, offset, what, what to do}
//
// It only reads, and needs no lock: blocks never change, and the log only grows. So a node may be running; blocks that
// it merges away and log that it drops meanwhile are passed over.
package verify
