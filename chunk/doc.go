// Package chunk holds what is true of samples wherever they lie: the chunk and
// its statistics, and the rule that decides between two samples of one series
// at one time. It is pure: no files, no sockets, no clocks.
//
// # Same series, same timestamp
//
// Replicas, retries and late devices send a sample more than once. Which one
// stays is decided by the values alone, so that every node decides alike in
// whatever order they arrive: a native histogram beats a number, a number beats NaN, NaN
// beats a stale marker, and of two numbers the larger wins. See [Prefer] and [Merge].
//
// # Statistics
//
// [Stats] of a chunk stand beside it in files, and those of adjacent chunks add up
// by [Stats.Add]; so a question about a whole chunk is answered without decoding it.
//
// # Encodings
//
// The head makes XOR chunks, whose bytes are those of Prometheus. Blocks hold Dense chunks, which a
// [Rewriter] makes: two columns that lose no bit and are laid out for the compression of pages in which the
// columns of many chunks lie. [Chunk.AppendTo] decodes both, many samples at a time.
//
// Times are relative to Stats.MinTime, so that equal schedules have equal bytes, and a chunk of one sample
// has none. Both columns are integers, written as residuals: of order 0, the integers relative to the first, of
// order 1, their deltas, of order 2, the deltas of their deltas.
//
//	times   ┌───────┬──────┬─────┬──────┬──────┬───────┬──────┬────────────┬──────────┬─────────┐
//	        │ flags │ size │ low │ step │ base │ slope │ dict │ exceptions │ low bits │ symbols │
//	        └── 1 ──┴─ 1 ──┴─────┴──────┴──────┴───────┴──────┴────────────┴──────────┴─────────┘
//
//	values  ┌──────┬───────┬──────┬─────┬───────┬──────┬─────────────────────┬─────────┐
//	        │ form │ flags │ size │ low │ first │ step │ … as those of times │ patches │
//	        └─ 1 ──┴── 1 ──┴─ 1 ──┴─────┴───────┴──────┴─────────────────────┴─────────┘
//
//	flags       bits 0–1 the order, and from bit 2 on, which are there: low, step, exceptions, first, base, patches
//	size        below 16: 1 to 16 different symbols; 16: 256; 17: those of the dictionary. Bit 7: Huffman coded
//	low         one byte: a residual is base + symbol << low + low bits, or an exception
//	first       zigzag varint: the first integer; without it, the integer of Stats.First
//	step        uvarint: what all differences are divided by
//	base        zigzag varint; without it, such that zero is the middle symbol
//	slope       zigzag varint, of order 2: the first delta
//	dict        size − 1 in a byte, then uvarints: the distance of each entry to the one before, − 1; base is the first
//	exceptions  uvarint count, then for each: uvarint residuals since the last, zigzag varint of residual − base
//	low bits    low for each residual, the first in the lowest bits
//	symbols     up to 16 different: as many to a byte as fit (8, 8, 5, 4, 3, 3, then 2), digits of a number whose lowest
//	            is the first; more: a byte each; Huffman coded: uvarint length, a table and four streams as in zstd (RFC 8878)
//	patches     for each up to the end: uvarint values since the last, zigzag varint of the difference of the bits
//	            of the value and of the decoded one, rotated left by one, so that a sign is a small number
//
// The form's lowest two bits say how integers i are values, and the others have its argument: 0, bits i << argument; 1, i / 10^argument
// in IEEE 754 arithmetic (the idea is ALP's: Afroozeh, Kuffó, Boncz 2023); 2, that rounded to float32, for sensors that compute in it; 3 is
// short for form 1, order 1, no flags: argument in two bits and size in four, where 1 stands for 256 symbols.
package chunk
