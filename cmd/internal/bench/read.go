package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// maxFrame bounds what one frame of an answer may ask to be read into memory.
const maxFrame = 256 << 20

// remoteReader reads back by remote_read.
type remoteReader struct {
	client *http.Client
	url    string
}

// read calls f for every float sample that matches. Samples of one series come one after
// the other, and whole chunks come, so that some may lie outside the range. A series that comes in
// several frames comes in several runs.
func (r *remoteReader) read(ctx context.Context, q *prompb.Query, f func(ls labels.Labels, t int64, v float64)) error {
	body, err := (&prompb.ReadRequest{
		Queries:               []*prompb.Query{q},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES},
	}).Marshal()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "minitruectl")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("%s answers %s: %s", r.url, resp.Status, bytes.TrimSpace(text))
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-streamed-protobuf") {
		return readStream(resp.Body, f)
	}
	return readSamples(resp.Body, f)
}

func readSamples(r io.Reader, f func(ls labels.Labels, t int64, v float64)) error {
	packed, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if n, err := snappy.DecodedLen(packed); err == nil && n > maxFrame {
		return fmt.Errorf("an answer of %d bytes, at most %d are read", n, maxFrame)
	}
	body, err := snappy.Decode(nil, packed)
	if err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(body); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	b := labels.NewScratchBuilder(8)
	for _, result := range resp.Results {
		for _, ts := range result.Timeseries {
			ls := ts.ToLabels(&b, nil)
			for _, s := range ts.Samples {
				f(ls, s.Timestamp, s.Value)
			}
		}
	}
	return nil
}

// readStream reads frames, each of them
//
//	┌─────────┬───────────────────────┬─────────────────────┐
//	│ uvarint │ CRC-32C, 4 bytes, big │ ChunkedReadResponse │
//	└─ length ┴───────────────────────┴─────────────────────┘
func readStream(r io.Reader, f func(ls labels.Labels, t int64, v float64)) error {
	br := bufio.NewReaderSize(r, 64<<10)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	b := labels.NewScratchBuilder(8)
	var frame []byte
	for {
		n, err := binary.ReadUvarint(br)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read length of a frame: %w", err)
		}
		if n > maxFrame {
			return fmt.Errorf("a frame of %d bytes, at most %d are read", n, maxFrame)
		}
		if uint64(cap(frame)) < n+4 {
			frame = make([]byte, n+4)
		}
		frame = frame[:n+4]
		if _, err := io.ReadFull(br, frame); err != nil {
			return fmt.Errorf("read frame of %d bytes: %w", n, err)
		}
		if sum := crc32.Checksum(frame[4:], castagnoli); sum != binary.BigEndian.Uint32(frame) {
			return fmt.Errorf("read frame of %d bytes: checksum mismatch", n)
		}
		var resp prompb.ChunkedReadResponse
		if err := resp.Unmarshal(frame[4:]); err != nil {
			return fmt.Errorf("decode frame: %w", err)
		}
		for _, s := range resp.ChunkedSeries {
			if err := readChunks(s, &b, f); err != nil {
				return err
			}
		}
	}
}

func readChunks(s *prompb.ChunkedSeries, b *labels.ScratchBuilder, f func(ls labels.Labels, t int64, v float64)) error {
	ls := s.ToLabels(b, nil)
	var it chunkenc.Iterator
	for _, c := range s.Chunks {
		if c.Type != prompb.Chunk_XOR || len(c.Data) < 2 {
			return fmt.Errorf("series %s: a chunk of type %s and %d bytes, want XOR", ls, c.Type, len(c.Data))
		}
		xor, err := chunkenc.FromData(chunkenc.EncXOR, c.Data)
		if err != nil {
			return fmt.Errorf("series %s: %w", ls, err)
		}
		it = xor.Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			f(ls, t, v)
		}
		if err := it.Err(); err != nil {
			return fmt.Errorf("series %s: chunk from %d: %w", ls, c.MinTimeMs, err)
		}
	}
	return nil
}
