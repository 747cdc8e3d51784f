package hint

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Hint is a write that a node missed.
type Hint struct {
	Time int64  // when it was written, Unix ms: what was deleted later must not come back
	Body []byte // opaque
}

const (
	magic     = "MTH1"
	frameHead = 20
	maxBody   = math.MaxInt32 // of one hint; senders cut their bodies far smaller
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(dst []byte, h Hint) []byte {
	at := len(dst)
	dst = append(dst, magic...)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(h.Body)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Time))
	dst = append(dst, h.Body...)
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli))
	return dst
}

// readFrame reads the frame with which b begins; size is 0 when there is no good one.
func readFrame(b []byte) (h Hint, size int) {
	if len(b) < frameHead || string(b[:4]) != magic {
		return Hint{}, 0
	}
	n := binary.LittleEndian.Uint32(b[8:])
	if uint64(n) > uint64(len(b)-frameHead) {
		return Hint{}, 0
	}
	size = frameHead + int(n)
	if crc32.Checksum(b[8:size], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return Hint{}, 0
	}
	return Hint{int64(binary.LittleEndian.Uint64(b[12:])), b[frameHead:size:size]}, size
}

// nextFrame returns the first good frame of b, and how many bytes before it are none; size is 0 when there is
// none at all. The hint aliases b.
func nextFrame(b []byte) (h Hint, skipped, size int) {
	for {
		if h, size = readFrame(b[skipped:]); size > 0 {
			return h, skipped, size
		}
		if skipped++; skipped > len(b) {
			return Hint{}, len(b), 0
		}
		i := bytes.Index(b[skipped:], []byte(magic))
		if i < 0 {
			return Hint{}, len(b), 0
		}
		skipped += i
	}
}
