package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/promql/cost"
	"github.com/minitrue/minitrue/shard"
)

// request is what a node is asked. Not every path needs all of it.
type request struct {
	epoch      uint64     // of the ring by which the node was chosen
	parts      *shard.Set // that it is to answer for
	mint, maxt int64      // ms, inclusive
	resolution int64      // of buckets that may stand for samples, ms
	cut        int64      // of a scan: samples before this time are wanted as statistics only
	names      bool       // of a scan: only labels are wanted
	leaves     bool       // of digests: each window's own, and not their sum
	limit      int        // of labels and of names; 0: none
	label      string     // whose values are wanted; "": the names of labels
	ids        []series.ID
	sets       [][]*labels.Matcher // of exemplars any number, else one
	plan       []byte              // of evaluations: what is to be evaluated, as promql/vector writes it
}

const (
	requestFormat = 1

	maxIDs     = 64 << 10 // of one request
	maxSets    = 1024     // of matchers
	maxLimit   = 1 << 31  // no node has as many labels or series
	maxRequest = 4 << 20  // bytes

	flagNames  = 1
	flagLeaves = 2
	flagPlan   = 4 // only nodes that know evaluations know it
)

// matchers are those of a request that has one set of them.
func (q *request) matchers() []*labels.Matcher {
	if len(q.sets) == 0 {
		return nil
	}
	return q.sets[0]
}

// append appends the request as it goes over the wire.
func (q *request) append(b []byte) []byte {
	b = append(b, requestFormat)
	b = binary.BigEndian.AppendUint64(b, q.epoch)
	b = q.parts.AppendTo(b)
	for _, x := range []int64{q.mint, q.maxt, q.resolution, q.cut, min(int64(q.limit), maxLimit)} {
		b = binary.AppendVarint(b, x)
	}
	flags := byte(0)
	if q.names {
		flags |= flagNames
	}
	if q.leaves {
		flags |= flagLeaves
	}
	if q.plan != nil {
		flags |= flagPlan
	}
	b = appendString(append(b, flags), q.label)
	b = binary.AppendUvarint(b, uint64(len(q.ids)))
	for _, id := range q.ids {
		raw := id.Bytes()
		b = append(b, raw[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(q.sets)))
	for _, ms := range q.sets {
		b = binary.AppendUvarint(b, uint64(len(ms)))
		for _, m := range ms {
			b = appendString(append(b, byte(m.Type)), m.Name)
			b = appendString(b, m.Value)
		}
	}
	if q.plan != nil {
		b = appendBytes(b, q.plan)
	}
	return b
}

var errRequest = errors.New("the request is malformed")

// parseRequest reads a request. Nothing of it is believed.
func parseRequest(b []byte) (*request, error) {
	u := unpacker{b: b}
	if format := u.byte(); format != requestFormat {
		return nil, fmt.Errorf("the request has format %d, this node knows %d", format, requestFormat)
	}
	q := &request{epoch: u.uint64()}
	var err error
	if q.parts, err = shard.SetFromBytes(u.take(shard.Partitions / 8)); err != nil {
		return nil, errRequest
	}
	limit := int64(0)
	for _, x := range []*int64{&q.mint, &q.maxt, &q.resolution, &q.cut, &limit} {
		*x = u.varint()
	}
	flags := u.byte()
	q.names, q.leaves = flags&flagNames != 0, flags&flagLeaves != 0
	q.label, q.limit = string(u.bytes()), int(limit)
	for range u.count(16) {
		q.ids = append(q.ids, series.IDFromBytes([16]byte(u.take(16))))
	}
	n := u.count(1)
	if u.bad || limit < 0 || limit > maxLimit || q.resolution < 0 || flags&^(flagNames|flagLeaves|flagPlan) != 0 || len(q.ids) > maxIDs || n > maxSets {
		return nil, errRequest
	}
	for range n {
		ms, err := parseMatchers(&u)
		if err != nil {
			return nil, err
		}
		q.sets = append(q.sets, ms)
	}
	if flags&flagPlan != 0 {
		q.plan = u.bytes()
	}
	if u.bad || len(u.b) > 0 {
		return nil, errRequest
	}
	return q, nil
}

func parseMatchers(u *unpacker) ([]*labels.Matcher, error) {
	var ms []*labels.Matcher
	for range u.count(3) {
		t, name, value := labels.MatchType(u.byte()), string(u.bytes()), string(u.bytes())
		if u.bad || t > labels.MatchNotRegexp {
			return nil, errRequest
		}
		m, err := labels.NewMatcher(t, name, value)
		if err != nil {
			return nil, fmt.Errorf("the matcher of label %q has a bad regular expression: %w", name, err)
		}
		ms = append(ms, m)
	}
	return ms, cost.Matchers(ms...)
}
