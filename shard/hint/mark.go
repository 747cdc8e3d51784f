package hint

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
)

// markFile says how much of the first segment need not be sent any more:
//
//	│ CRC-32C of what follows, 4 │ segment 8 │ bytes 8 │
//
// It is written over in place and never synced: what it loses is sent again.
const (
	markFile = "sent"
	markSize = 20
)

func appendMark(dst []byte, segment uint64, sent int64) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, segment)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(sent))
	binary.LittleEndian.PutUint32(dst[len(dst)-markSize:], crc32.Checksum(dst[len(dst)-markSize+4:], castagnoli))
	return dst
}

// remember writes down how much of the first segment was sent. The caller holds mu.
func (q *queue) remember(segment uint64) {
	if !q.s.o.Tail {
		return
	}
	if q.mark == nil {
		f, err := q.s.o.FS.Create(filepath.Join(q.dir, markFile))
		if err != nil {
			q.s.o.Logger.Warn("what was sent cannot be remembered; after a restart it is sent again", "peer", q.peer, "err", err)
			return
		}
		q.mark = f
	}
	if _, err := q.mark.WriteAt(appendMark(nil, segment, q.sent), 0); err != nil {
		q.s.o.Logger.Warn("what was sent cannot be remembered; after a restart it is sent again", "peer", q.peer, "err", err)
		_ = q.mark.Close()
		q.mark = nil
	}
}

// recall reads what an earlier process has remembered, once the segments are known.
func (q *queue) recall() {
	b, err := os.ReadFile(filepath.Join(q.dir, markFile))
	if err != nil || len(b) != markSize || string(appendMark(nil, binary.LittleEndian.Uint64(b[4:]), int64(binary.LittleEndian.Uint64(b[12:])))) != string(b) {
		return
	}
	segment, sent := binary.LittleEndian.Uint64(b[4:]), int64(binary.LittleEndian.Uint64(b[12:]))
	q.next = max(q.next, segment+1) // what the mark says is never said of a new segment
	if len(q.segments) > 0 && q.segments[0].number == segment && sent >= 0 {
		q.sent = min(sent, q.segments[0].size)
	}
}
