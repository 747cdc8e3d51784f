package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/merkle"
)

// A message between nodes, over memberlist, which encrypts it:
//
//	┌─────────┬──────┬───────────────────┬───────────────────────────┬──────────────────────────────┬──────┐
//	│ version │ kind │ cluster, 16 bytes │ uvarint length, member    │ uvarint length, host:port    │ body │
//	└─────────┴──────┴───────────────────┴───────────────────────────┴──────────────────────────────┴──────┘
//
// Member and address are those of the sender. A node passes over kinds that it does not know, and versions.
type message struct {
	kind    byte
	cluster string // "" when the sender has none
	member  string
	addr    string
	body    []byte
}

const protocol = 1

// Kinds of messages, and their bodies.
const (
	kindRoot    = 1 + iota // root, 16 bytes: the other answers with its digests when it differs
	kindAsk                // root, which the other answers with its own also when it is the same
	kindDigests            // those of the buckets
	kindOffer              // set of buckets, 8 bytes, and all records of these: the other answers with what it has newer
	kindRecords            // records
	kindHello              // a hello, to another run of the same node, which answers
	kindAnswer             // a hello
)

// message makes one of this node.
func (c *Cluster) message(kind byte, body []byte) []byte {
	return message{kind, *c.cluster.Load(), c.run.member(c.identity.ID), c.addr(), body}.appendTo(nil)
}

func (m message) appendTo(b []byte) []byte {
	b = append(b, protocol, m.kind)
	var cluster [16]byte
	copy(cluster[:], clusterBytes(m.cluster))
	b = append(b, cluster[:]...)
	for _, s := range []string{m.member, m.addr} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, m.body...)
}

var errMessage = errors.New("a message is malformed")

func decodeMessage(b []byte) (m message, err error) {
	if len(b) < 18 {
		return m, errMessage
	}
	if b[0] != protocol {
		return m, fmt.Errorf("a message has version %d of the protocol, and this node knows %d", b[0], protocol)
	}
	m.kind, m.cluster, b = b[1], clusterText(b[2:18]), b[18:]
	for _, s := range []*string{&m.member, &m.addr} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > maxText || n > uint64(len(b)-w) {
			return m, errMessage
		}
		*s, b = string(b[w:w+int(n)]), b[w+int(n):]
	}
	m.body = b
	return m, nil
}

func decodeRoot(b []byte) (series.Digest, error) {
	d, err := merkle.DecodeDigests(b)
	if err != nil || len(d) != 1 {
		return series.Digest{}, errMessage
	}
	return d[0], nil
}

// buckets is a set of buckets.
type buckets uint64

func (s buckets) has(bucket int) bool { return s>>bucket&1 == 1 }

func (s *buckets) add(bucket int) { *s |= 1 << bucket }

func decodeOffer(b []byte) (s buckets, records []merkle.Record, err error) {
	if len(b) < 8 {
		return 0, nil, errMessage
	}
	records, err = merkle.DecodeRecords(b[8:])
	return buckets(binary.BigEndian.Uint64(b)), records, err
}

// hello is what two runs of one node tell each other.
type hello struct {
	settled bool // the others know it
}

func (h hello) appendTo(b []byte) []byte {
	if h.settled {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeHello(b []byte) (hello, error) {
	if len(b) < 1 || b[0] > 1 {
		return hello{}, errMessage
	}
	return hello{settled: b[0] == 1}, nil
}
