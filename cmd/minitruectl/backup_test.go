package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/tsdb/fileutil"

	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/verify"
)

// snapshots is a node so far as backup needs one: it links its blocks into a new folder.
func snapshots(t *testing.T, data string) string {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/admin/tsdb/snapshot" {
			http.NotFound(w, r)
			return
		}
		n++
		name := fmt.Sprintf("snapshot-%d", n)
		blocks := filepath.Join(data, "blocks")
		err := filepath.WalkDir(blocks, func(path string, e fs.DirEntry, err error) error {
			to := filepath.Join(data, "snapshots", name, "blocks", strings.TrimPrefix(path, blocks))
			if err != nil || e.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			return os.Link(path, to)
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"status":"success","data":{"name":%q}}`, name)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Of a running node the snapshot is backed up, and removed; a node that cannot make one, or has another folder, is told apart.
func TestBackupOfARunningNode(t *testing.T) {
	data, bucket := t.TempDir(), t.TempDir()
	fixture.Fill(t, data, 0, 100, true)
	url := snapshots(t, data)
	wants(t, must(t, "backup", "--url", url, "--data-dir", data, "--to", bucket), "2100 samples")
	wants(t, must(t, "backup", "--url", url, "--data-dir", data, "--to", bucket), "uploaded  0 files")
	for _, name := range []string{backupSnapshot + "snapshot-0", "mine"} { // a backup was killed; a person wants a snapshot
		if err := os.MkdirAll(filepath.Join(data, "snapshots", name, "blocks"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "backup", "--url", url, "--data-dir", data, "--to", filepath.Join(file, "bucket")); err == nil {
		t.Error("a backup into a file succeeds")
	}
	must(t, "backup", "--url", url, "--data-dir", data, "--to", bucket)
	left, err := os.ReadDir(filepath.Join(data, "snapshots"))
	if err != nil || len(left) != 1 || left[0].Name() != "mine" {
		t.Errorf("left are %v, %v", left, err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(data, verify.BackupLock))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "backup", "--url", url, "--data-dir", data, "--to", bucket); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("two backups at a time: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "data")
	wants(t, must(t, "restore", "--from", bucket, "--data-dir", restored), "2100 samples")
	wants(t, must(t, "verify", "--data-dir", restored, "--json"), `"samples": 2100`, `"findings": []`)

	if _, err := run(t, "backup", "--url", url, "--data-dir", t.TempDir(), "--to", bucket); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("another folder: %v", err)
	}
	none := httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	if _, err := run(t, "backup", "--url", none.URL, "--data-dir", data, "--to", bucket); err == nil || !strings.Contains(err.Error(), "stop the node") {
		t.Errorf("a node without snapshots: %v", err)
	}
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":{"name":"../.."}}`) }))
	defer evil.Close()
	if _, err := run(t, "backup", "--url", evil.URL, "--data-dir", data, "--to", bucket); err == nil || !strings.Contains(err.Error(), `"../.."`) {
		t.Errorf("a name that leads out: %v", err)
	}
}

// What is in the log of a stopped node is in its backup.
func TestBackupOfAStoppedNode(t *testing.T) {
	data, bucket := t.TempDir(), t.TempDir()
	fixture.Fill(t, data, 0, 100, true)
	fixture.Fill(t, data, 100, 150, false)
	wants(t, must(t, "backup", "--data-dir", data, "--to", bucket), "3150 samples")
	wants(t, must(t, "backup", "list", "--from", bucket), "3150 samples", data)
	wants(t, must(t, "backup", "list", "--from", bucket, "--json"), `"samples": 3150`)
	objects, err := filepath.Glob(filepath.Join(bucket, "blocks", "*", "chunks.parquet-*"))
	if err != nil || len(objects) == 0 {
		t.Fatal(objects, err)
	}
	if err := os.Truncate(objects[0], 100); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "backup", "verify", "--from", bucket, "--remove-damaged")
	if err == nil || !strings.Contains(out, filepath.Base(objects[0])) {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, "backup", "--data-dir", data, "--to", bucket)
	wants(t, must(t, "backup", "verify", "--from", bucket), "2 backups")
}
