package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
)

// A backup or an export of a stopped node's folder that has a damaged block fails and leaves the block where it is; one that was set
// aside before is told.
func TestDamagedBlockOfAStoppedNodeIsNotLeftOut(t *testing.T) {
	data, bucket := t.TempDir(), t.TempDir()
	fixture.Fill(t, data, 0, 100, true)
	fixture.Fill(t, data, 10_000, 10_100, true)
	chunks, err := filepath.Glob(filepath.Join(data, "blocks", "*", block.ChunksFile))
	if err != nil || len(chunks) < 2 {
		t.Fatal(chunks, err)
	}
	if err := os.Truncate(chunks[0], 100); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"backup", "--data-dir", data, "--to", bucket},
		{"export", "--data-dir", data, "--output", filepath.Join(t.TempDir(), "all.csv")},
	} {
		out, err := run(t, args...)
		if err == nil || !strings.Contains(err.Error(), "minitruectl verify") {
			t.Errorf("%s of a folder with a damaged block: %v: %s", args[0], err, out)
		}
		if _, err := os.Stat(chunks[0]); err != nil {
			t.Fatalf("%s has moved the damaged block: %v", args[0], err)
		}
	}
	aside := filepath.Join(data, "quarantine", filepath.Base(filepath.Dir(chunks[0])))
	if err := os.Mkdir(filepath.Dir(aside), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(chunks[0]), aside); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"backup", "--data-dir", data, "--to", bucket},
		{"export", "--data-dir", data, "--output", filepath.Join(t.TempDir(), "all.csv")},
	} {
		var said bytes.Buffer
		root := newRoot()
		root.SetArgs(args)
		root.SetOut(io.Discard)
		root.SetErr(&said)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		wants(t, said.String(), args[0]+": the samples of "+aside+" are left out")
	}
	// A damaged index is no loss.
	if err := os.Truncate(filepath.Join(filepath.Dir(chunks[1]), block.IndexFile), 10); err != nil {
		t.Fatal(err)
	}
	must(t, "backup", "--data-dir", data, "--to", bucket)
}
