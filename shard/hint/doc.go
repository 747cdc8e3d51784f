// Package hint keeps, on disk, what could not be sent to a node of the cluster, until that node is there again.
//
// A hint is a help and never an acknowledgement: it makes a replica that was away equal to the others sooner and for less
// than comparing digests does. What is lost of it is found and repaired by that comparison; therefore hints are
// synced once a second and not one by one, and are dropped when they take too much room or get too old.
//
// Each node has a folder with numbered segments, in which hints lie as frames, little endian:
//
//	hints/<node id>/000000000001.hint
//	┌────────┬───────────────────┬────────┬──────────┬──────┐
//	│ "MTH1" │ CRC-32C of what   │ length │ time     │ body │ …
//	│        │ follows, 4 bytes  │ 4      │ 8, Unix  │      │
//	└────────┴───────────────────┴────────┴──── ms ──┴──────┘
//
// The same queue, with other options, keeps what goes to another cluster (package replicate): there an append is acknowledged, and therefore synced, and
// the queue is followed all the time.
//
// A segment is removed when all of it was sent. After a restart the hints of one segment may be sent again, which
// does no harm: writes are idempotent.
package hint
