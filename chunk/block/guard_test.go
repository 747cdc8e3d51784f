package block

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A bit of the index that flips while the block is open is found before it is believed, once the cache is a little older.
func TestBitsFlipInTheIndexOfAnOpenBlock(t *testing.T) {
	dir, model, files := smallBlock(t)
	path := filepath.Join(dir, IndexFile)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	good := files[IndexFile]
	for at := range int64(len(good)) {
		cache := NewCache(0)
		b, err := Open(dir, Options{Cache: cache, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		cache.Age()
		if _, err := f.WriteAt([]byte{good[at] ^ 1<<(at%8)}, at); err != nil {
			t.Fatal(err)
		}
		var ce *CorruptError
		if err := read(b, model); !errors.As(err, &ce) || ce.File != IndexFile || ce.Offset != 0 || b.Err() == nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if _, err := f.WriteAt(good[at:at+1], at); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
