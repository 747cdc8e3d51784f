// Package remote is the door for Prometheus servers: remote_write 1.0 and 2.0
// come in by [NewWriteHandler], remote_read is answered by [NewReadHandler]. It knows the
// wire and nothing of the store: what it needs of it are [Appender] and [Source].
//
// # Writing
//
//	body ─▶ snappy ─▶ decoder ─▶ series.Batch ─▶ Appender.Append ─▶ 204, 400, 429, 503
//
// The whole request is decoded before anything is appended: malformed protobuf
// is a 400 and nothing of it is stored. What is well-formed and cannot be stored (a bad
// histogram, a symbol out of range, labels that the store refuses) is left out
// alone; the rest is stored and the answer is a 400 with the counts.
//
// In a remote_write 1.0 request the labels of a series lie as a run of frames,
// and that run is the key of the series as package series defines it:
//
//	TimeSeries │ 0x0a n label │ 0x0a n label │ 0x12 n sample │ …
//	           └──────── Entry.Key ──────────┘
//
// so decoding a series copies nothing but its samples. The inside of a label frame is
// not looked at here: the store does it when it meets a key that it does not know.
// Buffers are pooled, and every byte that a request makes this package hold is charged
// to one account for all requests ([WriteOptions.MaxInFlight]) before it is allocated.
//
// # Reading
//
// A request may hold several queries and names the forms of answer that the
// client can read. SAMPLES is one snappy block with all samples, bounded in size;
// STREAMED_XOR_CHUNKS is a stream of frames with chunks as the store keeps them:
//
//	┌─────────┬─────────────────────────┬─────────────────────┐
//	│ uvarint │ CRC-32C, 4 bytes, big   │ ChunkedReadResponse │ …
//	│ length  │ endian, of the message  │ one series or part  │
//	└─────────┴─────────────────────────┴─────────────────────┘
//
// See https://prometheus.io/docs/specs/prw/remote_write_spec/,
// https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/ and
// https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/.
package remote
