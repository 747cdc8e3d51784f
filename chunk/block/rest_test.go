package block

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/duty"
)

// Commit rests again and again, and the files are those of a writer that does not.
func TestCommitRests(t *testing.T) {
	const many = 5000
	var files [2]map[string][]byte
	rests := 0
	for i, rest := range []func(){nil, func() { rests++ }} {
		root := t.TempDir()
		id := ulid.ULID{1}
		w, err := Create(root, WriterOptions{ULID: id, Rest: rest})
		if err != nil {
			t.Fatal(err)
		}
		for j := range many {
			c := chunk.Chunk{Stats: chunk.Stats{MinTime: 1, MaxTime: 1, Samples: 1}, Encoding: chunk.XOR, Data: []byte{1, 2, 3}}
			if err := w.Append(Series{Labels: labels.FromStrings("__name__", "m", "i", fmt.Sprintf("%05d", j))}, []chunk.Chunk{c}); err != nil {
				t.Fatal(err)
			}
		}
		rests = 0
		if _, err := w.Commit(Origin{}); err != nil {
			t.Fatal(err)
		}
		files[i] = map[string][]byte{}
		for _, name := range []string{ChunksFile, SeriesFile, IndexFile, MetaFile} {
			if files[i][name], err = os.ReadFile(filepath.Join(root, id.String(), name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if least := 7 * many / restEvery; rests < least { // the labels twice, their lists, and the sets of all series four times
		t.Errorf("it has rested %d times while %d series were written down, want at least %d", rests, many, least)
	}
	for name, want := range files[0] {
		if !bytes.Equal(files[1][name], want) {
			t.Errorf("%s is another one when it rests", name)
		}
	}
}

// Digests of a block rest after each series, when the context says so.
func TestDigestsRest(t *testing.T) {
	root := t.TempDir()
	model := randomModel(t, rand.New(rand.NewPCG(8, 8)), 300)
	b := openBlock(t, filepath.Join(root, write(t, root, model).ULID.String()))
	rests := 0
	if _, err := b.Digests(duty.Resting(t.Context(), func() { rests++ })); err != nil {
		t.Fatal(err)
	}
	if rests < len(model) {
		t.Errorf("it has rested %d times, and has %d series", rests, len(model))
	}
}
