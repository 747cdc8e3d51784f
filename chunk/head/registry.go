package head

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Ref names a series within this process. 0 names none.
type Ref uint32

// Registry knows the active series: their labels, and which of them a matcher selects. It only grows: the
// store puts a new one in its place when too many of its series are idle.
type Registry struct {
	deviceLabel string
	books

	users  atomic.Int64
	mu     sync.RWMutex // guards all below against Register
	ids    table        // series id → ref
	series *slab[record]
	labels *slab[uint32] // the pairs of a series, one after the other

	pairIDs table // name and value → pair
	pairs   *slab[pair]
	lists   *slab[piece] // postings
	values  text

	newest [shard.Partitions]Ref // series of each
	older  *slab[Ref]            // by series: the one before it in its partition

	names   []string // label names; a number stands for one
	numbers map[string]uint32
	byName  [][]uint32 // the pairs of a name

	sortMu sync.Mutex // guards sorted
	sorted []Ref      // the oldest of refs, by labels; never written again once it is here
	refs   []Ref      // by age; guarded by mu
}

// record is a series.
type record struct {
	id        series.ID
	labels    uint32 // its first pair
	n         uint16 // how many pairs
	partition uint16
}

// pair is a label name and value, and the series that have it.
type pair struct {
	value       string // in Registry.values
	name        uint32
	count       uint32
	first, last Ref
	head, tail  uint32 // pieces of the refs after the first, as uvarint deltas
	used        uint32 // bytes of the tail
}

// RegistryOptions are for NewRegistry. The zero value is usable.
type RegistryOptions struct {
	DeviceLabel string           // that makes a shard key; "" means that none does
	Past        []chunk.Interval // the times at which samples lie elsewhere, of series that the registry is to know
	Ledger      Ledger           // nil means that nobody wants to hear
	Sums        bool             // from the start, as Sum begins later
}

// NewRegistry returns an empty registry, whose user is the caller.
func NewRegistry(o RegistryOptions) *Registry {
	r := &Registry{
		deviceLabel: o.DeviceLabel, series: newSlab[record](refBits), older: newSlab[Ref](refBits), labels: newSlab[uint32](18),
		pairs: newSlab[pair](14), lists: newSlab[piece](14), numbers: map[string]uint32{},
	}
	r.users.Store(1)
	r.books.open(o)
	return r
}

// refBits makes slabs with an element for each series have them at the same places.
const refBits = 15

// Retain keeps the registry for one more user, until Release.
func (r *Registry) Retain() *Registry {
	r.users.Add(1)
	return r
}

// Release gives the memory back when every user has called it. The one who made the registry is the first user.
func (r *Registry) Release() {
	if r.users.Add(-1) > 0 {
		return
	}
	r.series.release()
	r.older.release()
	r.accounts.release()
	r.labels.release()
	r.pairs.release()
	r.lists.release()
	r.values.release()
	r.ids.release()
	r.pairIDs.release()
}

// How many ids are looked for in the table together, until it is seen whether the next ones follow in the order of refs: more and more as long
// as none do.
const (
	leastSearch = 8
	mostSearch  = 512
	goodRun     = 4 // refs that followed
)

// Lookup finds the refs of ids; refs[i] is 0 where an id is not known. It returns how many are not. Who writes series again mostly does so in the
// order in which they were new, so that the next ref is tried before the table, which is all over the memory.
func (r *Registry) Lookup(ids []series.ID, refs []Ref) (unknown int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for at, n := 0, leastSearch; at < len(ids); {
		to := min(at+n, len(ids))
		unknown += r.search(ids[at:to], refs[at:to])
		run := r.follow(ids[to:], refs[to:], refs[to-1])
		if n = min(2*n, mostSearch); run >= goodRun {
			n = leastSearch
		}
		at = to + run
	}
	return unknown
}

// search finds the refs of ids by the table, and returns how many are not known.
func (r *Registry) search(ids []series.ID, refs []Ref) (unknown int) {
	r.ids.candidates(ids, refs)
	for i, ref := range refs {
		if ref != 0 && r.series.at(uint32(ref)).id != ids[i] {
			refs[i] = r.lookup(ids[i])
		}
		if refs[i] == 0 {
			unknown++
		}
	}
	return unknown
}

// follow finds how many of the first ids are those of the refs after last, and sets these.
func (r *Registry) follow(ids []series.ID, refs []Ref, last Ref) int {
	end := r.series.next.Load()
	for i, id := range ids {
		last++
		if uint32(last) >= end || last%(1<<refBits) == 0 || r.series.at(uint32(last)).id != id {
			return i
		}
		refs[i] = last
	}
	return len(ids)
}

func (r *Registry) lookup(id series.ID) Ref {
	return Ref(r.ids.find(id.Lo, func(i uint32) bool { return r.series.at(i).id == id }))
}

// Ref finds one id, or returns 0.
func (r *Registry) Ref(id series.ID) Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lookup(id)
}

// Register finds the refs of canonical keys, and makes new ones for those that are not known yet while
// there are fewer than limit series: refs[i] is 0 for those beyond. A limit of 0 is none.
func (r *Registry) Register(keys [][]byte, ids []series.ID, refs []Ref, limit int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, key := range keys {
		if refs[i] = r.lookup(ids[i]); refs[i] == 0 && (limit == 0 || len(r.refs) < limit) {
			ref, err := r.add(key, ids[i])
			if err != nil {
				return err
			}
			refs[i] = ref
		}
	}
	return nil
}

func (r *Registry) add(key []byte, id series.ID) (Ref, error) {
	var buf [64]uint32
	pairs := buf[:0]
	err := series.EachLabel(key, func(name, value string) { pairs = append(pairs, r.pair(name, value)) })
	if err != nil {
		return 0, err
	}
	if len(pairs) > math.MaxUint16 {
		return 0, fmt.Errorf("a series of %d labels is too large", len(pairs))
	}
	at := r.labels.add(uint32(len(pairs)))
	for i, p := range pairs {
		*r.labels.at(at + uint32(i)) = p
	}
	ref := Ref(r.series.add(1))
	partition := shard.PartitionOfKey(key, r.deviceLabel)
	*r.series.at(uint32(ref)) = record{id, at, uint16(len(pairs)), partition}
	*r.older.at(r.older.add(1)) = r.newest[partition]
	r.newest[partition] = ref
	if r.sums {
		r.openAccount()
	}
	for _, p := range pairs {
		r.post(r.pairs.at(p), ref)
	}
	r.ids.put(id.Lo, uint32(ref), func(i uint32) uint64 { return r.series.at(i).id.Lo })
	r.refs = append(r.refs, ref)
	return ref, nil
}

func pairHash(name uint32, value string) uint64 {
	return xxh3.HashString(value) ^ uint64(name+1)*0x9e3779b97f4a7c15
}

func (r *Registry) findPair(name uint32, value string) uint32 {
	return r.pairIDs.find(pairHash(name, value), func(i uint32) bool {
		p := r.pairs.at(i)
		return p.name == name && p.value == value
	})
}

// pair returns the number of a label name and value, a new one if need be.
func (r *Registry) pair(name, value string) uint32 {
	n, ok := r.numbers[name]
	if !ok {
		n = uint32(len(r.names))
		name = strings.Clone(name)
		r.names = append(r.names, name)
		r.byName = append(r.byName, nil)
		r.numbers[name] = n
	}
	if p := r.findPair(n, value); p != 0 {
		return p
	}
	p := r.pairs.add(1)
	*r.pairs.at(p) = pair{value: r.values.put(value), name: n}
	r.pairIDs.put(pairHash(n, value), p, func(i uint32) uint64 {
		p := r.pairs.at(i)
		return pairHash(p.name, p.value)
	})
	r.byName[n] = append(r.byName[n], p)
	return p
}

// Count is the number of series.
func (r *Registry) Count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.refs)
}

// ID returns the id of a series.
func (r *Registry) ID(ref Ref) series.ID { return r.series.at(uint32(ref)).id }

// Partition returns the partition of a series.
func (r *Registry) Partition(ref Ref) uint16 { return r.series.at(uint32(ref)).partition }

// Within returns the series that are in partitions of a set.
func (r *Registry) Within(set *shard.Set) []Ref {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.within(set)
}

func (r *Registry) within(set *shard.Set) (refs []Ref) {
	for p := range set.Partitions() {
		for ref := r.newest[p]; ref != 0; ref = *r.older.at(uint32(ref)) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// Labels builds the labels of a series.
func (r *Registry) Labels(ref Ref, b *labels.ScratchBuilder) labels.Labels {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.build(ref, b)
}

func (r *Registry) build(ref Ref, b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	rec := r.series.at(uint32(ref))
	for i := range uint32(rec.n) {
		p := r.pairs.at(*r.labels.at(rec.labels + i))
		b.Add(r.names[p.name], p.value)
	}
	return b.Labels()
}

// AppendKey appends the key of a series to dst.
func (r *Registry) AppendKey(dst []byte, ref Ref) []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec := r.series.at(uint32(ref))
	for i := range uint32(rec.n) {
		p := r.pairs.at(*r.labels.at(rec.labels + i))
		dst = series.AppendLabel(dst, r.names[p.name], p.value)
	}
	return dst
}

// Bytes is about how much memory the registry takes.
func (r *Registry) Bytes() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.series.bytes() + r.older.bytes() + r.accounts.bytes() + r.labels.bytes() + r.pairs.bytes() + r.lists.bytes() + r.values.size +
		int64(len(r.ids.raw)+len(r.pairIDs.raw)) + 8*int64(cap(r.refs)) // as refs, and sorted
}

// AppendValues appends the values of some labels of a series to dst, each followed by the byte 0xff, which is
// in no value. A label that the series does not have is empty.
func (r *Registry) AppendValues(dst []byte, ref Ref, names ...string) []byte {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec := r.series.at(uint32(ref))
	for _, name := range names {
		n, known := r.numbers[name]
		if p := r.pairOf(rec, &test{name: n, known: known}); p != 0 {
			dst = append(dst, r.pairs.at(p).value...)
		}
		dst = append(dst, 0xff)
	}
	return dst
}
