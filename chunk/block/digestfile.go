package block

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/minitrue/minitrue/chunk/disk"
)

// DigestsFile is where a block keeps its digests, so that a start does not read all blocks. It is derived, and may be missing.
//
//	┌──────────┬──────┬────────────────────────────────────────────────────────┬────────┐
//	│ MTDIGES1 │ ULID │ (i64 window, u16 partition, 16 bytes of digest) × many │ CRC-32C│
//	└──────────┴──────┴────────────────────────────────────────────────────────┴────────┘
//
// Numbers are big endian. The checksum is of everything before it.
const DigestsFile = "digests"

const digestMagic = "MTDIGES1"

// digestWorth is how many samples to a digest make the file worth its room: they take some hundred bytes. What stands for
// fewer is read again as fast.
const digestWorth = 100

// Digests returns the digests of the block's samples. It reads the whole block when they are neither in the cache nor in
// their file, and rests as ctx says (package duty).
func (b *Block) Digests(ctx context.Context) (Digests, error) {
	d, err := b.cache.get(&b.digests, func() (*decoded, error) {
		if raw, ok := b.readDigests(); ok {
			return &decoded{page: raw}, nil
		}
		m := digestMaker{b: b}
		if err := m.run(ctx); err != nil {
			return nil, err
		}
		b.storeDigests(m.raw)
		return &decoded{page: m.raw}, nil
	})
	if err != nil {
		return Digests{}, err
	}
	return Digests{d.page}, nil
}

// SetDigests spares the block to find its digests by itself.
func (b *Block) SetDigests(d Digests) {
	_, _ = b.cache.get(&b.digests, func() (*decoded, error) { // it has no error
		b.storeDigests(d.raw)
		return &decoded{page: d.raw}, nil
	})
}

// HasDigests reports whether Digests needs to read no samples.
func (b *Block) HasDigests() bool {
	if b.digests.value.Load() != nil {
		return true
	}
	_, err := os.Stat(filepath.Join(b.dir, DigestsFile))
	return err == nil
}

// readDigests reads the file. One that is damaged, or not there, is made anew.
func (b *Block) readDigests() (raw []byte, ok bool) {
	file, err := os.ReadFile(filepath.Join(b.dir, DigestsFile))
	if err != nil {
		return nil, false
	}
	raw, err = decodeDigests(file, b.meta.ULID)
	if err != nil {
		b.log.Warn("The digests of a block are damaged and are made anew.", "block", b.meta.ULID, "err", err)
	}
	return raw, err == nil
}

func encodeDigests(raw []byte, id [16]byte) []byte {
	file := make([]byte, 0, len(digestMagic)+16+len(raw)+4)
	file = append(append(append(file, digestMagic...), id[:]...), raw...)
	return binary.BigEndian.AppendUint32(file, crc32.Checksum(file, castagnoli))
}

func decodeDigests(file []byte, id [16]byte) ([]byte, error) {
	const head, tail = len(digestMagic) + 16, 4
	if len(file) < head+tail || string(file[:len(digestMagic)]) != digestMagic || (len(file)-head-tail)%digestSize != 0 {
		return nil, fmt.Errorf("%d bytes are no digests of version %s", len(file), digestMagic)
	}
	end := len(file) - tail
	if crc32.Checksum(file[:end], castagnoli) != binary.BigEndian.Uint32(file[end:]) {
		return nil, errors.New("checksum mismatch")
	}
	if [16]byte(file[len(digestMagic):head]) != id {
		return nil, errors.New("they belong to another block")
	}
	return file[head:end:end], nil
}

// storeDigests puts the file into place, if it is worth it.
func (b *Block) storeDigests(raw []byte) {
	if b.ro || b.meta.Samples < digestWorth*uint64(len(raw)/digestSize) {
		return
	}
	if err := disk.WriteFile(b.fs, filepath.Join(b.dir, DigestsFile), encodeDigests(raw, b.meta.ULID)); err != nil {
		b.log.Warn("The digests of a block cannot be stored.", "block", b.meta.ULID, "err", err)
	}
}
