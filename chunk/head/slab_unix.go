//go:build unix

package head

import "golang.org/x/sys/unix"

// alloc returns n zeroed bytes outside Go's heap.
func alloc(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic("map memory: " + err.Error()) // as Go does when the heap cannot grow
	}
	return b
}

func free(b []byte) { _ = unix.Munmap(b) }
