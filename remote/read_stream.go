package remote

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/minitrue/minitrue/chunk/series"
)

const typeStreamed = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

// A frameWriter writes frames of a prometheus.ChunkedReadResponse with one series, or
// a part of one, each:
//
//	1 chunked_series: 1 labels, 2 chunks (1 min time, 2 max time, 3 type, 4 data)
//	2 query_index
type frameWriter struct {
	w     *readWriter
	max   int
	index int
	table *crc32.Table

	series []byte // the ChunkedSeries at hand
	labels int    // of these bytes, its labels
	frame  []byte
	chunk  []byte
}

// stream answers with frames. Chunks are copied into the frame as they come, and
// need not outlive the next step of their iterator.
func (h *readHandler) stream(ctx context.Context, w *readWriter, qs []query) error {
	f := &frameWriter{w: w, max: h.o.MaxFrame, table: crc32.MakeTable(crc32.Castagnoli)}
	for i, q := range qs {
		f.index = i
		if err := h.streamResult(ctx, f, q); err != nil {
			return fmt.Errorf("query %d: %w", i+1, err)
		}
	}
	w.Header().Set("Content-Type", typeStreamed) // for an answer without frames
	return nil
}

func (h *readHandler) streamResult(ctx context.Context, f *frameWriter, q query) error {
	querier, err := h.from.ChunkQuerier(q.start, q.end)
	if err != nil {
		return err
	}
	defer querier.Close()
	set := querier.Select(ctx, true, q.hints, q.matchers...)
	var it chunks.Iterator
	for set.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := set.At()
		it = s.Iterator(it)
		if err := f.addSeries(s.Labels(), it); err != nil {
			return err
		}
	}
	h.warn(ctx, set.Warnings().AsErrors())
	return set.Err()
}

func (f *frameWriter) addSeries(ls labels.Labels, it chunks.Iterator) error {
	f.series = series.AppendKey(f.series[:0], ls)
	f.labels = len(f.series)
	for it.Next() {
		if err := f.addChunk(it.At(), ls); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil {
		return err
	}
	return f.flush()
}

// addChunk adds a chunk to the frame, in an encoding that every client knows.
func (f *frameWriter) addChunk(m chunks.Meta, ls labels.Labels) error {
	if m.Chunk == nil {
		return fmt.Errorf("the series %s has a chunk without data", ls)
	}
	switch m.Chunk.Encoding() {
	case chunkenc.EncXOR, chunkenc.EncHistogram, chunkenc.EncFloatHistogram:
		return f.append(m)
	}
	it := storage.NewSeriesToChunkEncoder(plainSeries{ls, m.Chunk}).Iterator(nil)
	for it.Next() {
		if err := f.append(it.At()); err != nil {
			return err
		}
	}
	return it.Err()
}

// append appends a chunk and sends the frame when it is full.
func (f *frameWriter) append(m chunks.Meta) error {
	c := append(f.chunk[:0], 0x08)
	c = binary.AppendUvarint(c, uint64(m.MinTime))
	c = append(c, 0x10)
	c = binary.AppendUvarint(c, uint64(m.MaxTime))
	c = append(c, 0x18, byte(m.Chunk.Encoding()))
	c = appendBytesField(c, 0x22, m.Chunk.Bytes())
	f.chunk = c
	f.series = appendBytesField(f.series, 0x12, c)
	f.w.chunks++
	if len(f.series) < f.max {
		return nil
	}
	return f.flush()
}

// flush sends the chunks at hand, if there are any, and keeps the labels.
func (f *frameWriter) flush() error {
	if len(f.series) == f.labels {
		return nil
	}
	if !f.w.started {
		f.w.Header().Set("Content-Type", typeStreamed)
	}
	// The message stands behind the longest head that it can have.
	const head = binary.MaxVarintLen64 + crc32.Size
	b := append(f.frame[:0], make([]byte, head)...)
	b = appendBytesField(b, 0x0a, f.series)
	if f.index > 0 {
		b = append(b, 0x10)
		b = binary.AppendUvarint(b, uint64(f.index))
	}
	f.frame, f.series = b, f.series[:f.labels]
	message := b[head:]
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(message)))
	binary.BigEndian.PutUint32(b[head-crc32.Size:], crc32.Checksum(message, f.table))
	start := head - crc32.Size - n
	copy(b[start:], length[:n])
	_, err := f.w.Write(b[start:])
	return err
}

// plainSeries is a chunk as a series whose samples have no start times: the
// encodings that every client knows cannot keep them.
type plainSeries struct {
	labels labels.Labels
	chunk  chunkenc.Chunk
}

func (s plainSeries) Labels() labels.Labels { return s.labels }

func (s plainSeries) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return plainIterator{s.chunk.Iterator(nil)}
}

type plainIterator struct{ chunkenc.Iterator }

func (plainIterator) AtST() int64 { return 0 }
