// Package series holds the nouns that every other package speaks of: the
// identity of a series, a sample, and the batch of both in which they travel.
// It is the lowest floor: it opens no file and no socket, and imports no
// package of this project.
//
// # Identity
//
// A series is its sorted label set. Its key is that set in the form in which
// remote_write 1.0 sends it, one frame a label, names in byte order:
//
//	┌──────┬─────────┬──────┬─────────┬──────┬──────┬─────────┬───────┐
//	│ 0x0a │ uvarint │ 0x0a │ uvarint │ name │ 0x12 │ uvarint │ value │ …
//	└──────┴─ frame ─┴──────┴─ name ──┴──────┴──────┴─ value ─┴───────┘
//
// so that a key is usually a slice of the request that carries it. The id is
// the XXH3-128 hash of the key: the same on every node and in every file.
//
// # Flow
//
// A door (remote, ingest/mqtt) fills a [Batch], [Batch.Reject] marks what cannot be
// stored, and whoever appends the batch tells by [Batch.Rejected] what happened.
package series
