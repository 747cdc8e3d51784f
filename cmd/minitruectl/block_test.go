package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

func writeBlock(t *testing.T) (dir string) {
	t.Helper()
	root := t.TempDir()
	w, err := block.Create(root, block.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{"d1", "d2"} {
		x := chunkenc.NewXORChunk()
		app, err := x.Appender()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			app.Append(0, int64(i)*10_000, float64(i%7)/10)
		}
		cs, err := chunk.Encode(nil, x.Iterator(nil))
		if err != nil {
			t.Fatal(err)
		}
		ls := labels.FromStrings("__name__", "temperature", "device_id", device)
		if err := w.Append(block.Series{Labels: ls}, cs); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := w.Commit(block.Origin{})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, meta.ULID.String())
}

func TestBlockInspect(t *testing.T) {
	dir := writeBlock(t)
	out, err := run(t, "block", "inspect", "--verify", dir+"/")
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, "2 series, 2 chunks, 200 samples", "series.parquet", "chunks.parquet", "index", "data", "min_time",
		"encoding XOR", "2 chunks, 200 samples", "a sample", "verified")
	out, err = run(t, "block", "inspect", "--json", dir)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, out, `"samples": 200`, `"name": "data"`, `"XOR": {`, `"verified": false`)
}

func TestBlockDamage(t *testing.T) {
	dir := writeBlock(t)
	path := filepath.Join(dir, block.ChunksFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/3] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "block", "inspect", "--verify", dir); err == nil {
		t.Errorf("the damage was not noticed:\n%s", out)
	}
}
