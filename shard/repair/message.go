package repair

import (
	"fmt"
	"math"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// Kind is what a question asks for.
type Kind uint8

// The kinds of questions.
const (
	Sums   Kind = 1 + iota // sums of digests, by group of partitions
	Leaves                 // digests by partition and window
	Pieces                 // digests of the pieces of one window, of all partitions together
	Series                 // digests of the series of one window
	Copied                 // what this node has copied, of the asker and in a change
)

// Question is what a node asks of a peer.
type Question struct {
	Kind       Kind
	From       string // id of the node that asks
	Epoch      uint64 // of its ring
	Parts      *shard.Set
	Mint, Maxt int64     // ms; windows that start in [Mint, Maxt). Pieces: samples in it; Series: Mint is the window
	Cut        int64     // Sums: the windows from here on are summed apart
	Shift      uint8     // Sums: a group is the partitions that differ in these low bits only; 12 means all
	Fresh      bool      // Sums: may not come from a cache
	After      series.ID // Series: the answer begins behind it
}

// Answer is what a node says about what it has. What belongs to other kinds is empty.
type Answer struct {
	Kind    Kind
	Epoch   uint64        // of the answering node's ring
	Deletes series.Digest // of the delete records that it has applied
	Oldest  int64         // ms, before which it may have dropped samples
	Hints   bool          // it will send hints to the asker

	Cold, Hot []Sum                 // windows before and from Question.Cut on; no empty ones, by group
	Leaves    []shard.Leaf          // sorted
	Upto      int                   // Leaves: of the partitions below; 4096 when it is complete
	Pieces    []Piece               // all of the window, in order
	Series    []series.SeriesDigest // by ID
	More      bool                  // Series: there are more behind the last
	Done      *shard.Set            // Copied: it has all that the asker had of these when it asked first
	Gained    bool                  // Copied: in the change of the epoch it has copied all that it has to
}

// Sum is the sum of the digests of a group of partitions.
type Sum struct {
	Group  uint16
	Digest series.Digest
}

// Piece is what a node has in pieceMillis of time: how many samples, and the low half of their digest.
type Piece struct {
	Samples uint64
	Digest  uint64
}

const (
	pieceMillis = 30_000
	maxPieces   = shard.WindowMillis / pieceMillis
	groupShift  = 6  // there are 64 groups of 64 partitions
	rootShift   = 12 // all partitions are one group
	maxLeaves   = 1 << 17
	maxSeries   = 1 << 16 // in an answer
	maxFrom     = 128     // bytes of a node's id
	noLimit     = math.MaxInt64
)

// check says whether a question from outside can be answered.
func (q *Question) check() error {
	switch {
	case q.Kind < Sums || q.Kind > Copied:
		return fmt.Errorf("kind %d is unknown", q.Kind)
	case q.Mint > q.Cut || q.Cut > q.Maxt:
		return fmt.Errorf("the times %d, %d and %d are not in order", q.Mint, q.Cut, q.Maxt)
	case q.Shift > rootShift:
		return fmt.Errorf("there are no groups of 2^%d partitions", q.Shift)
	case (q.Kind == Pieces || q.Kind == Series) && shard.Window(q.Mint) != q.Mint:
		return fmt.Errorf("%d is not the start of a window", q.Mint)
	case q.Kind == Pieces && uint64(q.Maxt-q.Mint) > shard.WindowMillis:
		return fmt.Errorf("from %d to %d is more than a window", q.Mint, q.Maxt)
	}
	return nil
}

// pieces is how many pieces lie in the time of a question.
func (q *Question) pieces() int { return int((q.Maxt - q.Mint + pieceMillis - 1) / pieceMillis) }

// end is the end of a window, which at the end of all time is that.
func end(window int64) int64 {
	if window > math.MaxInt64-shard.WindowMillis {
		return math.MaxInt64
	}
	return window + shard.WindowMillis
}
