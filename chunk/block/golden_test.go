package block

import (
	"bytes"
	"flag"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// The files of version 2 lie on disks: their bytes never change. Of the Parquet files
// what is compared is that the old ones are read; how zstd compresses may change.
func TestGolden(t *testing.T) {
	_, model, files := smallBlock(t)
	const dir = "testdata/01J00000000000000000000000"
	if *update {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{IndexFile} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(files[name], want) {
			t.Errorf("%s is not what version 2 writes:\n%q\nwant\n%q", name, files[name], want)
		}
	}
	if err := tryBlock(dir, model); err != nil {
		t.Fatalf("the golden block cannot be read: %v", err)
	}
}

var update = flag.Bool("update", false, "write the golden block")

// meta.json is for people too: its text is fixed, and fields of later versions are passed over.
func TestGoldenMeta(t *testing.T) {
	b, err := os.ReadFile("testdata/01J00000000000000000000000/meta.json")
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMeta(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := encodeMeta(m)
	if err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%s, %v; want %s", again, err, b)
	}
	rows := []struct {
		name, from, to string
		ok             bool
	}{
		{"a field of a later version", `"level": 1,`, `"level": 1, "replicas": 3,`, true},
		{"a need of a later version", `"level": 1,`, `"level": 1, "needs": ["zstd pages"],`, false},
		{"a later version", `"version": 2,`, `"version": 3,`, false},
		{"the version that was never released", `"version": 2,`, `"version": 1,`, false},
	}
	for _, r := range rows {
		changed := bytes.Replace(b, []byte(r.from), []byte(r.to), 1)
		if bytes.Equal(changed, b) {
			t.Fatalf("%s: %q is not in the file", r.name, r.from)
		}
		if _, err := decodeMeta(sign(changed)); (err == nil) != r.ok {
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

// sign makes the checksum of a meta file right.
func sign(b []byte) []byte {
	i := bytes.LastIndex(b, []byte(`"crc32c": "`)) + len(`"crc32c": "`)
	copy(b[i:], unsigned)
	copy(b[i:], hex32(crc32.Checksum(b, castagnoli)))
	return b
}
