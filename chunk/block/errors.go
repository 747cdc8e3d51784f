package block

import (
	"errors"
	"fmt"
	"hash/crc32"
)

var (
	// ErrUnsupported is of a block that a later version wrote in a form this one does not know.
	ErrUnsupported = errors.New("unsupported block format")
	// ErrOrder is of series or chunks that a Writer got out of order.
	ErrOrder = errors.New("out of order")
	// ErrEmpty is of a Commit without any chunk.
	ErrEmpty = errors.New("the block is empty")
)

// A CorruptError tells that a file of a block is not what was written. The block is
// to be quarantined.
type CorruptError struct {
	Block  string // the folder
	File   string // its file
	Offset int64  // where in the file; -1 when it is the file as a whole
	Err    error
}

func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("block %s: %s: %v", e.Block, e.File, e.Err)
	}
	return fmt.Sprintf("block %s: %s at %d: %v", e.Block, e.File, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// castagnoli is CRC-32C's table: a constant that the language cannot write as one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)
