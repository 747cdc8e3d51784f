//go:build unix

package verify

import (
	"fmt"
	"io/fs"
	"syscall"
)

// inode names the file behind a name, so that hard links are read once.
func inode(fi fs.FileInfo) (string, bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino), true
}
