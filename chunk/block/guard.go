package block

import (
	"fmt"
	"hash/crc32"
	"sync/atomic"
)

// guardPage is how many bytes of a map are verified together: what the page cache reads from the disk at once, at least.
const guardPage = 4 << 10

// A guard verifies pages of a mapped file again in each age of the cache in which they are read. The system may drop a page that
// was right and read it from the disk once more, where a bit has flipped since.
type guard struct {
	file []byte
	sums []uint32        // CRC-32C by page, of the file when it was verified as a whole
	seen []atomic.Uint32 // by page: the age in which it was last right
	age  *atomic.Uint32
	bad  atomic.Int64 // 1 + where the first page begins that was wrong; 0: none was
}

// newGuard guards a file that is right now.
func newGuard(file []byte, age *atomic.Uint32) *guard {
	n := (len(file) + guardPage - 1) / guardPage
	g := &guard{file: file, sums: make([]uint32, n), seen: make([]atomic.Uint32, n), age: age}
	now := age.Load()
	for i := range g.sums {
		g.sums[i] = g.sum(i)
		g.seen[i].Store(now)
	}
	return g
}

func (g *guard) sum(page int) uint32 {
	from := page * guardPage
	return crc32.Checksum(g.file[from:min(from+guardPage, len(g.file))], castagnoli)
}

// sure reports whether the bytes [from, to) are right. Once they are not, damage returns an error.
func (g *guard) sure(from, to int) bool {
	age := g.age.Load()
	for p := from / guardPage; p*guardPage < to; p++ {
		if g.seen[p].Load() != age && !g.verify(p, age) {
			return false
		}
	}
	return true
}

func (g *guard) verify(page int, age uint32) bool {
	if g.sum(page) != g.sums[page] {
		g.bad.CompareAndSwap(0, 1+int64(page)*guardPage)
		return false
	}
	g.seen[page].Store(age)
	return true
}

// Err returns a [*CorruptError] when the index turned out to be damaged since the block was opened: what calls that return no error gave
// out since may be wrong, and the block is to be opened anew, which mends it.
func (b *Block) Err() error {
	bad := b.index.guard.bad.Load()
	if bad == 0 {
		return nil
	}
	return &CorruptError{Block: b.dir, File: IndexFile, Offset: bad - 1, Err: fmt.Errorf("checksum mismatch in %d bytes", guardPage)}
}

// because returns what was found wrong with the index, else err as an error of the index.
func (b *Block) because(err error) error {
	if damage := b.Err(); damage != nil || err == nil {
		return damage
	}
	return b.corrupt(IndexFile, err)
}
