//go:build !unix

package verify

import "io/fs"

func inode(fs.FileInfo) (string, bool) { return "", false }
