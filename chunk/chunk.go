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
	Dense          = Encoding(64) // floats in two columns, as doc.go draws them
	Downsampled    = Encoding(65) // statistics of buckets instead of samples
)

func (e Encoding) String() string {
	switch e {
	case XOR, Histogram, FloatHistogram:
		return chunkenc.Encoding(e).String()
	case Dense:
		return "dense"
	case Downsampled:
		return "downsampled"
	}
	return fmt.Sprintf("encoding %d", uint8(e))
}

// Chunk is a run of samples of one series, in time order, each time once. Whoever
// hands out a Chunk says how long its bytes live.
type Chunk struct {
	Stats
	Encoding Encoding
	Times    []byte // of Dense: the timestamps relative to MinTime, equal for equal schedules
	Data     []byte // all of the others; of Dense, the values
	Serial   uint64 // of a chunk that was read from a file: no other one has it while the process lives; 0 of all others
}

// Need says of a chunk, by its serial and its times (ms), whether it is to come with data. With nil all do.
type Need func(serial uint64, mint, maxt int64) bool

// NeedNone is the [Need] of those for whom statistics are enough.
func NeedNone(uint64, int64, int64) bool { return false }

// Decode returns the chunk as Prometheus knows it: Dense is encoded anew as XOR, the others are not
// copied. It refuses unknown encodings and chunks too short for a header.
func (c Chunk) Decode() (chunkenc.Chunk, error) {
	header := 2 // the count of samples
	switch c.Encoding {
	case XOR:
	case Histogram, FloatHistogram:
		header = 3 // and the counter reset flags
	case Dense, Downsampled:
		return c.xor()
	default:
		return nil, fmt.Errorf("decode chunk: unknown %v", c.Encoding)
	}
	if len(c.Data) < header {
		return nil, fmt.Errorf("decode %v chunk: %d bytes are too short for a header", c.Encoding, len(c.Data))
	}
	return chunkenc.FromData(chunkenc.Encoding(c.Encoding), c.Data)
}

// xor encodes a Dense chunk anew.
func (c Chunk) xor() (chunkenc.Chunk, error) {
	var cols Columns
	if err := c.AppendTo(&cols); err != nil {
		return nil, err
	}
	x := chunkenc.NewXORChunk()
	app, err := x.Appender()
	if err != nil {
		return nil, err
	}
	for i, t := range cols.T {
		app.Append(0, t, cols.V[i])
	}
	return x, nil
}
