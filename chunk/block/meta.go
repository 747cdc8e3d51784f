package block

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"github.com/oklog/ulid/v2"
)

// Version is the format version that this package writes, and the greatest it reads.
//
// Version 1 was never released: its chunks were as the head has them, and its pages not compressed.
const Version = 2

// The files of a block.
const (
	MetaFile   = "meta.json"
	SeriesFile = "series.parquet"
	ChunksFile = "chunks.parquet"
	IndexFile  = "index"
)

// Meta describes a block. A later version may add fields; a block whose Needs
// this package does not know is refused, other unknown fields are ignored.
type Meta struct {
	ULID    ulid.ULID           `json:"ulid"`
	Version int                 `json:"version"`
	MinTime int64               `json:"minTime"` // ms, of the first sample
	MaxTime int64               `json:"maxTime"` // ms, of the last sample
	Series  uint64              `json:"series"`
	Chunks  uint64              `json:"chunks"`
	Samples uint64              `json:"samples"`
	Needs   []string            `json:"needs,omitempty"` // what a reader must know beyond Version
	Files   map[string]FileMeta `json:"files"`
	Origin
}

// Origin is where the samples of a block come from.
type Origin struct {
	Level      int         `json:"level"`                // 0 as frozen, one more at each merge
	Parents    []ulid.ULID `json:"parents,omitempty"`    // the blocks that were merged into this one
	Seq        uint64      `json:"seq,omitempty"`        // deletes up to this number are applied
	Generation uint64      `json:"generation,omitempty"` // the number of the flush that made it; of merged blocks, the greatest
	Resolution int64       `json:"resolution,omitempty"` // ms: it has buckets of this length; 0: it has samples
	Covers     []Coverage  `json:"covers,omitempty"`     // of buckets: what they were made of
}

// Coverage is a span of time whose samples are in buckets, but for those of later flushes.
type Coverage struct {
	Start      int64  `json:"start"` // ms; exclusive
	End        int64  `json:"end"`   // ms; inclusive
	Generation uint64 `json:"generation"`
}

// FileMeta is what a file of a block must be.
type FileMeta struct {
	Size     int64  `json:"size"`
	Checksum string `json:"xxh64"`            // of the whole file
	Footer   string `json:"footer,omitempty"` // CRC-32C of a Parquet footer, length and magic included
}

// Bytes is the size of the block's files, without its meta.json.
func (m Meta) Bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// signed is meta.json: the fields of Meta, and the CRC-32C of the file with this
// field's digits all zero. Bytes and not fields are signed, so that fields which
// this version does not know are covered too.
type signed struct {
	Meta
	Checksum string `json:"crc32c"`
}

const unsigned = "00000000"

func hex32(v uint32) string { return fmt.Sprintf("%08x", v) }

func encodeMeta(m Meta) ([]byte, error) {
	b, err := json.MarshalIndent(signed{m, unsigned}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode meta: %w", err)
	}
	b = append(b, '\n')
	i := bytes.LastIndex(b, []byte(unsigned))
	copy(b[i:], hex32(crc32.Checksum(b, castagnoli)))
	return b, nil
}

// ReadMeta reads what the block in a folder says of itself, whatever became of the rest of it.
func ReadMeta(dir string) (Meta, error) {
	raw, err := os.ReadFile(filepath.Join(dir, MetaFile))
	if err != nil {
		return Meta{}, err
	}
	return decodeMeta(raw)
}

func decodeMeta(b []byte) (Meta, error) {
	var s signed
	if err := json.Unmarshal(b, &s); err != nil {
		return Meta{}, err
	}
	i := bytes.LastIndex(b, []byte(s.Checksum))
	if len(s.Checksum) != len(unsigned) || i < 0 {
		return Meta{}, fmt.Errorf("it has no checksum")
	}
	zeroed := slices.Clone(b)
	copy(zeroed[i:], unsigned)
	if got := hex32(crc32.Checksum(zeroed, castagnoli)); got != s.Checksum {
		return Meta{}, fmt.Errorf("checksum mismatch: %s, it says %s", got, s.Checksum)
	}
	m := s.Meta
	switch {
	case m.Version != Version:
		return Meta{}, fmt.Errorf("%w: format version %d, this program reads version %d", ErrUnsupported, m.Version, Version)
	case len(m.Needs) > 0:
		return Meta{}, fmt.Errorf("%w: it needs %q", ErrUnsupported, m.Needs)
	case m.MinTime > m.MaxTime:
		return Meta{}, fmt.Errorf("its time range %d to %d is empty", m.MinTime, m.MaxTime)
	}
	return m, nil
}
