package mqtt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mochi-mqtt/server/v2/packets"
)

// hello looks at the first bytes of a connection:
//
//	┌──────┬───────────────────────┬─────────────┬───┐
//	│ 0x10 │ length, 1 to 4 bytes  │ 0 4 M Q T T │ … │
//	└──────┴───────────────────────┴─────────────┴───┘
type hello struct {
	passed bool
	max    int // bytes of a CONNECT
	seen   int // bytes so far
	length int
}

var errNoConnect = errors.New("the first packet is not a CONNECT")

func (h *hello) check(p []byte) error {
	for _, c := range p {
		h.seen++
		switch {
		case h.seen == 1:
			if c != packets.Connect<<4 {
				return errNoConnect
			}
			continue
		case h.seen > 5:
			return fmt.Errorf("%w: its length has more than 4 bytes", errNoConnect)
		}
		h.length |= int(c&0x7f) << (7 * (h.seen - 2))
		if h.length > h.max {
			return fmt.Errorf("a CONNECT of %d bytes or more, at most %d are allowed", h.length, h.max)
		}
		if c < 0x80 {
			h.passed = true
			return nil
		}
	}
	return nil
}

// window holds back PUBLISH packets of quality 1 and 2 while as many are
// unacknowledged as the client's Receive Maximum allows (MQTT 5, 4.9). The library
// would do this itself, but can block for ever in doing so: it takes a read lock twice
// with writers waiting. The library also forgets the order of what a session is owed;
// while the window is resuming, it gathers these packets, to be sorted. The zero window lets
// everything pass.
type window struct {
	max      int // 0 means no limit
	open     int // sent and not finished
	held     [][]byte
	resuming bool
	bytes    int // of held
}

// pass appends to out what of the whole packets in p may be sent now.
func (w *window) pass(out, p []byte) []byte {
	if w.max == 0 && !w.resuming {
		return append(out, p...)
	}
	for len(p) > 0 {
		n := packetLen(p)
		one := p[:n]
		p = p[n:]
		kind := one[0] >> 4
		switch quality := kind == packets.Publish && one[0]&0x06 != 0; {
		case w.resuming && (quality || kind == packets.Pubrel), quality && w.max > 0 && w.open >= w.max:
			w.held = append(w.held, append([]byte(nil), one...))
			w.bytes += n
			continue
		case quality:
			w.open++
		}
		out = append(out, one...)
	}
	return out
}

// resume appends to out what was gathered, as far as it may be sent now, the packets with the lowest order first.
func (w *window) resume(out []byte, order func(id uint16) uint64) []byte {
	all := w.held
	w.resuming, w.held, w.bytes = false, nil, 0
	slices.SortStableFunc(all, func(a, b []byte) int { return cmp.Compare(order(packetID(a)), order(packetID(b))) })
	for _, p := range all {
		out = w.pass(out, p)
	}
	return out
}

// credit appends to out the packet that may be sent because another is finished.
func (w *window) credit(out []byte) []byte {
	w.open = max(0, w.open-1)
	if len(w.held) > 0 && !w.resuming && w.open < w.max {
		w.open++
		out = append(out, w.held[0]...)
		w.bytes -= len(w.held[0])
		w.held[0] = nil
		w.held = w.held[1:]
	}
	return out
}

// packetLen is the length of the first packet in p, which the library has encoded.
func packetLen(p []byte) int {
	n, w := binary.Uvarint(p[1:]) // MQTT's variable byte integer is the same
	if w <= 0 || n > uint64(len(p)-1-w) {
		return len(p)
	}
	return 1 + w + int(n)
}

// packetID is the id of a PUBLISH of quality 1 or 2, or of a PUBREL.
func packetID(p []byte) uint16 {
	_, w := binary.Uvarint(p[1:])
	body := p[1+max(w, 0):]
	if p[0]>>4 == packets.Publish && len(body) >= 2 {
		body = body[min(2+int(binary.BigEndian.Uint16(body)), len(body)):]
	}
	if len(body) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(body)
}
