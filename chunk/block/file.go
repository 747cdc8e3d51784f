package block

import (
	"bufio"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/minitrue/minitrue/chunk/disk"
)

// output is a file that is written once, front to back. The first error sticks.
type output struct {
	f    disk.File
	w    *bufio.Writer
	hash *xxhash.Digest
	n    int64 // bytes written
	err  error
}

func newOutput(f disk.File) *output {
	return &output{f: f, w: bufio.NewWriterSize(f, 256<<10), hash: xxhash.New()}
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	_, _ = o.hash.Write(p) // never fails
	o.n += int64(len(p))
	_, o.err = o.w.Write(p)
	return len(p), o.err
}

// finish makes the file durable and closes it.
func (o *output) finish() (FileMeta, error) {
	if o.err == nil {
		o.err = o.w.Flush()
	}
	if o.err == nil {
		o.err = o.f.Sync()
	}
	err := o.f.Close()
	o.f = nil
	if o.err == nil {
		o.err = err
	}
	return FileMeta{Size: o.n, Checksum: fmt.Sprintf("%016x", o.hash.Sum64())}, o.err
}

// abandon closes the file if finish did not.
func (o *output) abandon() {
	if o != nil && o.f != nil {
		_ = o.f.Close() // it is about to be removed
		o.f = nil
	}
}
