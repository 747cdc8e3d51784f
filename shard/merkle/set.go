package merkle

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
)

// Buckets is how many buckets a set has.
const Buckets = 64

// MaxAhead is how far the versions of a peer may be ahead of the clock here. Clocks that are an hour or a month apart work; a record that says
// that it is from another century would win over all that is written until then.
const MaxAhead = 366 * 24 * time.Hour

// ErrFuture is what a record is refused with when it is further ahead.
var ErrFuture = errors.New("more than a year ahead of the clock of this node: set the clocks of the nodes right")

// Set is a set of records, by key. It is not safe for concurrent use. What it gives out is immutable.
type Set struct {
	origin  string
	records map[string]Record
	digests [Buckets]series.Digest
	bytes   int
	last    uint64 // the largest version seen
}

// NewSet returns an empty set, in which records are written by origin.
func NewSet(origin string) *Set { return &Set{origin: origin, records: map[string]Record{}} }

// Len is how many records there are, deleted ones among them.
func (s *Set) Len() int { return len(s.records) }

// Room says whether there is room for so many more records, of so many bytes together.
func (s *Set) Room(records, bytes int) bool {
	return len(s.records)+records <= MaxRecords && s.bytes+bytes <= MaxBytes
}

// Put writes a record. The set keeps a copy of the value; now is the wall time, Unix ms.
func (s *Set) Put(now int64, key string, value []byte) (Record, error) {
	return s.write(Record{Key: key, Value: append([]byte{}, value...), Version: s.next(now), Origin: s.origin})
}

// Delete marks a record as deleted, which wins over what the others still have.
func (s *Set) Delete(now int64, key string) (Record, error) {
	return s.write(Record{Key: key, Version: s.next(now), Origin: s.origin})
}

// next is the version of a record that is written now.
func (s *Set) next(now int64) uint64 { return max(uint64(max(0, now))<<16, s.last+1) }

func (s *Set) write(r Record) (Record, error) {
	if err := s.admit(r); err != nil {
		return Record{}, err
	}
	s.store(r)
	return r, nil
}

// admit says whether a record may be in the set.
func (s *Set) admit(r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	old, known := s.records[r.Key]
	if !known && len(s.records) >= MaxRecords || s.bytes+r.bytes() > MaxBytes && r.bytes() > old.bytes() {
		return fmt.Errorf("record %q: there are %d records of %d bytes, more are not possible", r.Key, len(s.records), s.bytes)
	}
	return nil
}

func (s *Set) store(r Record) {
	d := &s.digests[bucketOf(r.Key)]
	if old, ok := s.records[r.Key]; ok {
		*d = minus(*d, old.digest())
	}
	*d = d.Plus(r.digest())
	s.bytes += r.bytes() - s.records[r.Key].bytes()
	s.records[r.Key] = r
	s.last = max(s.last, r.Version)
}

// Get returns the value of a record that is not deleted.
func (s *Set) Get(key string) (value []byte, ok bool) {
	r := s.records[key]
	return r.Value, r.Value != nil
}

// Record returns a record, also one that is deleted.
func (s *Set) Record(key string) (r Record, ok bool) {
	r, ok = s.records[key]
	return r, ok
}

// Range returns the records whose keys have a prefix and that are not deleted, by key.
func (s *Set) Range(prefix string) []Record {
	var out []Record
	for key, r := range s.records {
		if r.Value != nil && strings.HasPrefix(key, prefix) {
			out = append(out, r)
		}
	}
	return byKey(out)
}

// Merge takes the records of another set in and returns those that it did not have, or had older ones of. In which order records
// come, and how often, does not matter. Those that cannot be taken in are left out, and the error says why.
func (s *Set) Merge(now int64, records []Record) (changed []Record, err error) {
	horizon := now + MaxAhead.Milliseconds()
	for _, r := range records {
		if old, ok := s.records[r.Key]; ok && r.Compare(old) <= 0 {
			continue
		}
		refused := s.admit(r)
		if refused == nil && r.Millis() > horizon {
			refused = fmt.Errorf("record %q by %s is from %s: %w", r.Key, r.Origin, time.UnixMilli(r.Millis()).UTC().Format(time.DateTime), ErrFuture)
		}
		if refused != nil {
			err = errors.Join(err, refused)
			continue
		}
		s.store(r)
		changed = append(changed, r)
	}
	return changed, err
}

// Older is how many records, deleted ones among them, have keys with a prefix and versions before one.
func (s *Set) Older(prefix string, version uint64) (n int) {
	for key, r := range s.records {
		if r.Version < version && strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}

// Sweep removes those without a trace. A set that has them still gives them back.
func (s *Set) Sweep(prefix string, version uint64) {
	for key, r := range s.records {
		if r.Version < version && strings.HasPrefix(key, prefix) {
			d := &s.digests[bucketOf(key)]
			*d = minus(*d, r.digest())
			s.bytes -= r.bytes()
			delete(s.records, key)
		}
	}
}

// Root is equal for sets that are equal.
func (s *Set) Root() series.Digest {
	b := make([]byte, 0, 16*Buckets)
	for _, d := range s.digests {
		b = d.AppendTo(b)
	}
	h := xxh3.Hash128(b)
	return series.Digest{Hi: h.Hi, Lo: h.Lo}
}

// Digests are those of the buckets.
func (s *Set) Digests() [Buckets]series.Digest { return s.digests }

// Bucket returns the records of a bucket, by key, deleted ones too.
func (s *Set) Bucket(bucket int) []Record {
	var out []Record
	for key, r := range s.records {
		if bucketOf(key) == bucket {
			out = append(out, r)
		}
	}
	return byKey(out)
}

func bucketOf(key string) int { return int(xxh3.HashString(key) % Buckets) }

// minus takes a digest out of a sum.
func minus(sum, d series.Digest) series.Digest {
	neg := series.Digest{Hi: ^d.Hi, Lo: ^d.Lo}
	return sum.Plus(neg).Plus(series.Digest{Lo: 1})
}
