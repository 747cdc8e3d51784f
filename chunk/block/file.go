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
	safe int64 // of these, synced
	err  error
}

// syncEvery is how many bytes are written before they are synced. A disk that gets tens of megabytes at once, when the block is finished or the operating
// system thinks of it, makes the log wait for them.
const syncEvery = 2 << 20

func newOutput(f disk.File) *output {
	return &output{f: f, w: bufio.NewWriterSize(f, 256<<10), hash: xxhash.New()}
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	_, _ = o.hash.Write(p) // never fails
	o.n += int64(len(p))
	if _, o.err = o.w.Write(p); o.err == nil && o.n-o.safe >= syncEvery {
		o.sync()
	}
	return len(p), o.err
}

func (o *output) sync() {
	if o.err = o.w.Flush(); o.err == nil {
		o.err = o.f.Sync()
	}
	o.safe = o.n
}

// finish makes the file durable and closes it.
func (o *output) finish() (FileMeta, error) {
	if o.err == nil {
		o.sync()
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
