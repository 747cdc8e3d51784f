package chunk

import (
	"fmt"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Encoding says how a chunk's bytes are made. Its values are in files.
type Encoding uint8

// Prometheus's own encodings keep Prometheus's numbers, and their bytes are
// those of chunkenc, so that remote_read can stream them untouched. Numbers from
// 64 on are this project's.
const (
	XOR            = Encoding(chunkenc.EncXOR)
	Histogram      = Encoding(chunkenc.EncHistogram)
	FloatHistogram = Encoding(chunkenc.EncFloatHistogram)
)

func (e Encoding) String() string {
	switch e {
	case XOR, Histogram, FloatHistogram:
		return chunkenc.Encoding(e).String()
	}
	return fmt.Sprintf("encoding %d", uint8(e))
}

// Chunk is a run of samples of one series, in time order, each time once.
type Chunk struct {
	Stats
	Encoding Encoding
	Data     []byte // whoever hands out a Chunk says how long these bytes live
}

// Decode returns the chunk as Prometheus knows it. It refuses unknown encodings
// and chunks too short for a header; it does not copy the data.
func (c Chunk) Decode() (chunkenc.Chunk, error) {
	switch c.Encoding {
	case XOR, Histogram, FloatHistogram:
	default:
		return nil, fmt.Errorf("decode chunk: unknown %v", c.Encoding)
	}
	header := 2 // the count of samples
	if c.Encoding != XOR {
		header = 3 // and the counter reset flags
	}
	if len(c.Data) < header {
		return nil, fmt.Errorf("decode %v chunk: %d bytes are too short for a header", c.Encoding, len(c.Data))
	}
	return chunkenc.FromData(chunkenc.Encoding(c.Encoding), c.Data)
}
