package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/disk"
)

// TombstonesFile is where a data folder keeps what was deleted and is still in its blocks.
const TombstonesFile = "tombstones.json"

// tombstone says that samples were deleted: those of the series that the matchers select, in [MinTime, MaxTime], in blocks whose
// Seq is less.
type tombstone struct {
	Seq      uint64    `json:"seq"`
	Matchers []matcher `json:"matchers"`
	MinTime  int64     `json:"minTime"` // ms, inclusive
	MaxTime  int64     `json:"maxTime"` // ms, inclusive

	ms []*labels.Matcher
}

type matcher struct {
	Type  string `json:"type"` // as PromQL writes it
	Name  string `json:"name"`
	Value string `json:"value"`
}

// tombstoneFile is the file: one line of JSON, and one with its CRC-32C.
type tombstoneFile struct {
	Version    int         `json:"version"`
	Seq        uint64      `json:"seq"` // of the latest delete ever
	Tombstones []tombstone `json:"tombstones"`
	Applied    []applied   `json:"applied,omitempty"` // the deletes that are not to be done again, from old to new
}

// applied is a delete that had a name.
type applied struct {
	ID   string `json:"id"`
	Time int64  `json:"time"` // when it was done; Unix ms
}

const tombstoneVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (f *tombstoneFile) encode() ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	return fmt.Appendf(b, "%08x\n", crc32.Checksum(b, castagnoli)), nil
}

// decodeTombstones reads the bytes of the file.
func decodeTombstones(b []byte) (*tombstoneFile, error) {
	const tail = 9
	if len(b) < tail || string(b[len(b)-tail:]) != fmt.Sprintf("%08x\n", crc32.Checksum(b[:len(b)-tail], castagnoli)) {
		return nil, errors.New("checksum mismatch")
	}
	var f tombstoneFile
	if err := json.Unmarshal(b[:len(b)-tail], &f); err != nil {
		return nil, err
	}
	if f.Version != tombstoneVersion {
		return nil, fmt.Errorf("format version %d, this program reads version %d", f.Version, tombstoneVersion)
	}
	for i := range f.Tombstones {
		t := &f.Tombstones[i]
		for _, m := range t.Matchers {
			parsed, err := m.parse()
			if err != nil {
				return nil, fmt.Errorf("tombstone %d: %w", t.Seq, err)
			}
			t.ms = append(t.ms, parsed)
		}
		if len(t.ms) == 0 || t.Seq > f.Seq {
			return nil, fmt.Errorf("tombstone %d contradicts itself", t.Seq)
		}
	}
	return &f, nil
}

func (m matcher) parse() (*labels.Matcher, error) {
	for _, typ := range []labels.MatchType{labels.MatchEqual, labels.MatchNotEqual, labels.MatchRegexp, labels.MatchNotRegexp} {
		if typ.String() == m.Type {
			return labels.NewMatcher(typ, m.Name, m.Value)
		}
	}
	return nil, fmt.Errorf("unknown kind of matcher %q", m.Type)
}

// CheckTombstones reads the tombstones of a data folder and returns what is wrong with them.
func CheckTombstones(dir string) error {
	_, err := readTombstones(dir)
	return err
}

func readTombstones(dir string) (*tombstoneFile, error) {
	path := filepath.Join(dir, TombstonesFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return &tombstoneFile{Version: tombstoneVersion}, nil
	}
	var f *tombstoneFile
	if err == nil {
		f, err = decodeTombstones(b)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w. Without it deleted samples come back: restore the file from a snapshot or backup, or remove it to accept that", path, err)
	}
	return f, nil
}

// write makes the tombstones of a data folder durable: all of them or, after a crash, those from before.
func (f *tombstoneFile) write(fs disk.FS, dir string) error {
	b, err := f.encode()
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	if err := disk.WriteFile(fs, filepath.Join(dir, TombstonesFile), b); err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	return nil
}

// mask is what tombstones hide of a block.
type mask []hidden

// hidden is an interval of some series.
type hidden struct {
	chunk.Interval
	seq  uint64
	ords []uint32 // ascending; nil: of all series
}

// maskOf works out what tombstones hide of a block.
func maskOf(b *block.Block, tombs []tombstone) (mask, error) {
	var m mask
	meta := b.Meta()
	for i := range tombs {
		t := &tombs[i]
		if meta.Seq >= t.Seq || t.MinTime > meta.MaxTime || t.MaxTime < meta.MinTime {
			continue
		}
		ords, err := b.Postings(t.ms...)
		if err != nil {
			return nil, err
		}
		switch uint64(len(ords)) {
		case 0:
			continue
		case meta.Series:
			ords = nil
		}
		m = append(m, hidden{chunk.Interval{Min: t.MinTime, Max: t.MaxTime}, t.Seq, slices.Clip(ords)})
	}
	return m, nil
}

// of returns what is hidden of a series.
func (m mask) of(ord uint32) []chunk.Interval {
	var out []chunk.Interval
	for _, h := range m {
		if h.ords != nil {
			if _, ok := slices.BinarySearch(h.ords, ord); !ok {
				continue
			}
		}
		out = append(out, h.Interval)
	}
	return out
}
