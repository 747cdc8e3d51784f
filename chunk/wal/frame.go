package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

const (
	magic        = "MTWAL001"
	headerSize   = 24
	afterFailure = 1 // header flag: the segment before was given up and may end torn
	frameHeader  = 9
	maxRecord    = 256 << 20 // bytes; larger than any batch that a door lets through
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A CorruptError says where the log is damaged in a way that loses acknowledged
// samples, and how to go on.
type CorruptError struct {
	Path   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("replay %s at offset %d: %s: acknowledged samples are damaged; restore the file, or run `minitruectl wal repair %s` to set it aside and keep the rest",
		e.Path, e.Offset, e.Reason, filepath.Dir(e.Path))
}

func appendFrame(dst []byte, typ Type, rec []byte) []byte {
	at := len(dst)
	var h [frameHeader]byte
	h[8] = byte(typ)
	dst = append(append(dst, h[:]...), rec...)
	sealFrame(dst[at:])
	return dst
}

// sealFrame fills in the length and the checksum of a frame whose type and record are there.
func sealFrame(f []byte) {
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHeader))
	binary.LittleEndian.PutUint32(f, crc32.Checksum(f[4:], castagnoli))
}

const commitSize = frameHeader + 4

// putCommit makes a Commit frame of the first bytes of a write.
func putCommit(f []byte, durable int64) {
	f[8] = byte(Commit)
	binary.LittleEndian.PutUint32(f[frameHeader:], uint32(durable))
	sealFrame(f[:commitSize])
}

// frame is one that was read. Its record aliases the segment's bytes.
type frame struct {
	typ  Type
	rec  []byte
	size int64
}

// durable is what a Commit says; 0 for other frames.
func (f frame) durable() int64 {
	if f.typ != Commit || len(f.rec) != 4 {
		return 0
	}
	return int64(binary.LittleEndian.Uint32(f.rec))
}

var (
	errEnd  = errors.New("end of log")
	errCRC  = errors.New("checksum mismatch")
	errSize = errors.New("the length leads beyond the end of the segment")
)

// readFrame reads the frame at an offset. errEnd means zeros or nothing.
func readFrame(b []byte, off int64) (frame, error) {
	b = b[min(off, int64(len(b))):]
	if len(b) < frameHeader {
		if allZero(b) {
			return frame{}, errEnd
		}
		return frame{}, errSize
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if allZero(b[:frameHeader]) {
		return frame{}, errEnd
	}
	if n > maxRecord || int64(n)+frameHeader > int64(len(b)) {
		return frame{}, errSize
	}
	if crc32.Checksum(b[4:frameHeader+n], castagnoli) != binary.LittleEndian.Uint32(b) {
		return frame{}, errCRC
	}
	return frame{typ: Type(b[8]), rec: b[frameHeader : frameHeader+n], size: frameHeader + int64(n)}, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// nextGood returns the offset of the first good frame after off, or -1. It looks
// at every byte, since a bad frame's length cannot be trusted.
func nextGood(b []byte, off int64) (int64, frame) {
	for off++; off+frameHeader <= int64(len(b)); off++ {
		if typ := Type(b[off+8]); typ == 0 || typ > lastType {
			continue
		}
		n := binary.LittleEndian.Uint32(b[off+4:])
		if n == 0 || n > maxRecord || off+frameHeader+int64(n) > int64(len(b)) {
			continue
		}
		if f, err := readFrame(b, off); err == nil {
			return off, f
		}
	}
	return -1, frame{}
}

// wasSynced reports whether a Commit behind a bad frame says that it was durable.
func wasSynced(b []byte, bad int64) bool {
	for off := bad; ; {
		next, f := nextGood(b, off)
		for err := error(nil); next >= 0 && err == nil; f, err = readFrame(b, next) {
			if f.durable() > bad {
				return true
			}
			next += f.size
		}
		if next < 0 {
			return false
		}
		off = next - 1
	}
}

func segmentName(n uint64) string { return fmt.Sprintf("%012d.wal", n) }

// Segments lists the numbers of a log's segments, in order.
func Segments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ns []uint64
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".wal")
		if !ok || len(base) != 12 {
			continue
		}
		if n, err := strconv.ParseUint(base, 10, 64); err == nil {
			ns = append(ns, n)
		}
	}
	sort.Slice(ns, func(i, j int) bool { return ns[i] < ns[j] })
	return ns, nil
}

func appendHeader(dst []byte, n uint64, flags uint32) []byte {
	dst = binary.LittleEndian.AppendUint64(append(dst, magic...), n)
	dst = binary.LittleEndian.AppendUint32(dst, flags)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[len(dst)-headerSize+4:], castagnoli))
}

// checkHeader reports whether a segment begins as it should, and its flags.
func checkHeader(b []byte, n uint64) (flags uint32, err error) {
	switch {
	case len(b) < headerSize:
		return 0, errors.New("the header is cut short")
	case string(b[:len(magic)]) != magic:
		return 0, fmt.Errorf("the header says %q, not %q: not a log segment of this version", b[:len(magic)], magic)
	}
	flags = binary.LittleEndian.Uint32(b[16:])
	if string(b[:headerSize]) != string(appendHeader(nil, n, flags)) {
		return 0, errors.New("the header is damaged, or another segment's")
	}
	return flags, nil
}

// readSegment calls f for every good record of a segment's bytes, in order, and returns
// the offset behind the last one, and the reason why it is the last. Records alias b.
func readSegment(b []byte, f func(off int64, typ Type, rec []byte) error) (end int64, reason, err error) {
	for end = headerSize; ; {
		if end >= int64(len(b)) {
			return end, errEnd, nil
		}
		fr, reason := readFrame(b, end)
		if reason != nil {
			return end, reason, nil
		}
		if err := f(end, fr.typ, fr.rec); err != nil {
			return end, nil, err
		}
		end += fr.size
	}
}

const maxSegment = math.MaxUint32 // durable offsets are 32 bits wide
