package backup

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A flipped bit, a missing byte and a missing object are found by verify and by restore, and mended by the next backup.
func TestDamagedObjects(t *testing.T) {
	dir := dataFolder(t)
	b, root := bucketIn(t, Options{})
	m, _ := create(t, b, dir)
	for i, f := range m.Files {
		path := filepath.Join(root, f.Object)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(whole) == 0:
			err = os.WriteFile(path, []byte("x"), 0o644)
		case i%3 == 0:
			err = os.WriteFile(path, whole[:len(whole)-1], 0o644)
		case i%3 == 1:
			err = os.Remove(path)
		default:
			damaged := bytes.Clone(whole)
			damaged[len(damaged)/2] ^= 1
			err = os.WriteFile(path, damaged, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		damage, err := b.Verify(t.Context(), []Manifest{m, m})
		if err != nil || len(damage) != 1 || damage[0].Object != f.Object || len(damage[0].Backups) != 1 {
			t.Fatalf("%s: %v, %v", f.Object, damage, err)
		}
		to := filepath.Join(t.TempDir(), "data")
		if err := b.Restore(t.Context(), m, to); err == nil || !strings.Contains(err.Error(), f.Object) {
			t.Fatalf("restored with a damaged %s: %v", f.Object, err)
		}
		if _, err := os.Stat(to); err == nil {
			t.Fatal("there is half a folder")
		}
		if err := b.Remove(t.Context(), damage); err != nil {
			t.Fatal(err)
		}
		if _, cost := create(t, b, dir); cost.Uploaded != 1 {
			t.Fatalf("mending cost %+v", cost)
		}
		sound(t, b)
	}
}

func TestDamagedManifests(t *testing.T) {
	dir := dataFolder(t)
	b, root := bucketIn(t, Options{Grace: -1})
	m, _ := create(t, b, dir)
	path := filepath.Join(root, m.name())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 1 + at/20 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 2
		if got, err := decodeManifest(damaged); err == nil {
			t.Fatalf("a flipped bit at %d gives %+v", at, got)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if all, broken, err := b.List(t.Context()); err != nil || len(all) != 0 || len(broken) != 1 {
		t.Fatal(all, broken, err)
	}
	if _, err := b.Prune(t.Context(), Keep{Last: 1}); err == nil {
		t.Error("a prune went on without knowing what is needed")
	}
	create(t, b, dir)
	if p, err := b.Prune(t.Context(), Keep{Last: 1, Damaged: true}); err != nil || p.Kept != 1 {
		t.Error(p, err)
	}
	sound(t, b)
	for _, bad := range []string{"../x", "/x", "a/../b", "", ".", `a\b`, "a//b"} {
		m := m
		m.Files = []File{{bad, m.Files[0].Object, 1, m.Files[0].SHA256}}
		raw, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeManifest(raw); err == nil {
			t.Errorf("a file may be called %q", bad)
		}
	}
}

// What is damaged in the data folder does not get into a backup.
func TestDamagedDataIsNotBackedUp(t *testing.T) {
	for _, name := range []string{"chunks.parquet", "index", "meta.json", "series.parquet"} {
		dir := dataFolder(t)
		paths, err := filepath.Glob(filepath.Join(dir, "blocks", "*", name))
		if err != nil || len(paths) == 0 {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		whole[len(whole)/3] ^= 1
		if err := os.WriteFile(paths[0], whole, 0o644); err != nil {
			t.Fatal(err)
		}
		b, _ := bucketIn(t, Options{})
		if _, _, err := b.Create(t.Context(), dir, ""); err == nil {
			t.Errorf("a damaged %s was backed up", name)
		}
		if all, _, _ := b.List(t.Context()); len(all) > 0 {
			t.Error("there is a manifest")
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	raw, err := Manifest{Version: 1, Files: []File{{"blocks/x", "files/" + strings.Repeat("0", 64), 1, strings.Repeat("0", 64)}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) || !ours(file.Object) {
				t.Errorf("%+v", file)
			}
		}
	})
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	for _, row := range []struct{ place, config, want string }{
		{dir, "", ""},
		{"file://" + dir, "", ""},
		{"", "", "no bucket"},
		{"s3://x", "", "--config"},
		{"", "type: FILESYSTEM\nconfig: {directory: " + dir + "}", ""},
		{"node-1", "type: filesystem\nconfig: {directory: " + dir + "}\nprefix: all", ""},
		{"", "type: FILESYSTEM\nconfig: {dir: x}", "dir"},
		{"", "type: FILESYSTEM\nconfig: {}", "no name"},
		{"", "type: FTP", "FTP"},
		{"", "typ: S3", "typ"},
		{"", "type: S3\nconfig: {bucket: b, endpoint: 127.0.0.1:1, access_key: a, secret_key: s, insecure: true}", ""},
		{"", "type: S3\nconfig: {bucket: b}", "endpoint"},
		{"", "type: AZURE\nconfig: {}", "container"},
	} {
		file := ""
		if row.config != "" {
			file = config
			if err := os.WriteFile(file, []byte(row.config), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := Open(row.place, file)
		if got := fmt.Sprint(err); row.want == "" && err != nil || !strings.Contains(got, row.want) {
			t.Errorf("%+v: %v", row, err)
		}
		if err == nil && row.place == "node-1" {
			if err := b.Upload(t.Context(), "x", strings.NewReader("y")); err != nil {
				t.Error(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "all", "node-1", "x")); err != nil || string(got) != "y" {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
}
