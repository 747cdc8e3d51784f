package repair

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// reader reads what a peer sent. The first thing that is wrong is its error, and then it reads zeros.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("it ends too early")

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.b = nil
	}
}

// end returns what was wrong.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes follow its end", len(r.b))
	}
	return r.err
}

// bytes returns the next n bytes, nil when there are fewer.
func (r *reader) bytes(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.err, r.b = errShort, nil
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) digest() series.Digest { return series.Digest{Hi: r.uint64(), Lo: r.uint64()} }
func (r *reader) id() series.ID         { return series.ID{Hi: r.uint64(), Lo: r.uint64()} }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is malformed or cut off")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("a number is malformed or cut off")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many things of at least size bytes follow, at most limit.
func (r *reader) count(size, limit int) int {
	n := r.uvarint()
	if n > uint64(limit) || n > uint64(len(r.b)/size) {
		r.fail("it announces %d elements, and has %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

// next reads the distance to an element behind last, which is below limit. The first may be 0 itself.
func (r *reader) next(last int, first bool, limit int) int {
	d := r.uvarint()
	if d >= uint64(limit) || last+int(d) >= limit || d == 0 && !first {
		r.fail("its elements are not in order, or not below %d", limit)
		return 0
	}
	return last + int(d)
}

func (r *reader) set() *shard.Set {
	s := &shard.Set{}
	switch form := r.byte(); form {
	case setAll:
		if r.err == nil {
			return shard.All()
		}
	case setList:
		p := 0
		for i, n := 0, r.count(1, shard.Partitions); i < n && r.err == nil; i++ {
			p = r.next(p, i == 0, shard.Partitions)
			s.Add(uint16(p))
		}
	case setBits:
		if b := r.bytes(setBytes); b != nil {
			s, _ = shard.SetFromBytes(b) // it has the right length
		}
	default:
		r.fail("a set of partitions has the unknown form %d", form)
	}
	return s
}

func (r *reader) sums(q Question) []Sum {
	limit := shard.Partitions >> q.Shift
	n := r.count(17, limit)
	sums := make([]Sum, 0, n)
	g := 0
	for i := 0; i < n && r.err == nil; i++ {
		g = r.next(g, i == 0, limit)
		sums = append(sums, Sum{uint16(g), r.digest()})
	}
	return sums
}

func (r *reader) leaves(a *Answer, q Question) {
	upto := r.uvarint()
	if upto == 0 || upto > shard.Partitions {
		r.fail("it is about the partitions below %d", upto)
		return
	}
	a.Upto = int(upto)
	p := 0
	for i, n := 0, r.count(19, shard.Partitions); i < n && r.err == nil; i++ {
		p = r.next(p, i == 0, a.Upto)
		if !q.Parts.Has(uint16(p)) {
			r.fail("it is about partition %d, which was not asked for", p)
			return
		}
		w := int64(0) // in windows; the first may be anywhere
		for j, n := 0, r.count(17, 1<<30); j < n && r.err == nil; j++ {
			d := r.varint()
			if j > 0 && (d <= 0 || d > 1<<50) || d > 1<<50 || d < -1<<50 {
				r.fail("the windows of partition %d are not in order", p)
				return
			}
			w += d
			at := w * shard.WindowMillis
			if at/shard.WindowMillis != w || at < q.Mint || at >= q.Maxt {
				r.fail("it is about a window of partition %d that was not asked for", p)
				return
			}
			a.Leaves = append(a.Leaves, shard.Leaf{Partition: uint16(p), Window: at, Digest: r.digest()})
		}
	}
}

func (r *reader) pieces(a *Answer, q Question) {
	n := r.count(9, maxPieces)
	if want := q.pieces(); n != want {
		r.fail("it has %d pieces of a window, not %d", n, want)
		return
	}
	a.Pieces = make([]Piece, n)
	for i := range a.Pieces {
		a.Pieces[i] = Piece{r.uvarint(), r.uint64()}
		if a.Pieces[i].Samples > 1<<40 {
			r.fail("%d samples are in a piece", a.Pieces[i].Samples)
		}
	}
}

func (r *reader) series(a *Answer, q Question) {
	n := r.count(32, maxSeries)
	if n == 0 && a.More {
		r.fail("there are more series behind none")
	}
	a.Series = make([]series.SeriesDigest, n)
	last := q.After
	for i := range a.Series {
		s := series.SeriesDigest{ID: r.id(), Digest: r.digest()}
		if s.ID.Compare(last) <= 0 && (i > 0 || q.After != series.ID{}) {
			r.fail("its series are not in order")
			return
		}
		a.Series[i], last = s, s.ID
	}
}
