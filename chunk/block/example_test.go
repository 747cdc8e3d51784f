package block_test

import (
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/series"
)

// A block is written once and answers from its statistics.
func Example() {
	root, err := os.MkdirTemp("", "blocks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)

	ls := labels.FromStrings("__name__", "temperature", "device_id", "d1")
	chunks, err := chunk.Encode(nil, chunk.Slice([]series.Sample{{T: 1000, V: 21.5}, {T: 2000, V: 22.5}}))
	if err != nil {
		log.Fatal(err)
	}
	w, err := block.Create(root, block.WriterOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Append(block.Series{Labels: ls}, chunks); err != nil {
		log.Fatal(err)
	}
	meta, err := w.Commit(block.Origin{})
	if err != nil {
		log.Fatal(err)
	}

	b, err := block.Open(filepath.Join(root, meta.ULID.String()), block.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	ords, err := b.Postings(labels.MustNewMatcher(labels.MatchRegexp, "device_id", "d.*"))
	if err != nil {
		log.Fatal(err)
	}
	var sb labels.ScratchBuilder
	for _, ord := range ords {
		rows, err := b.Chunks(nil, ord, math.MinInt64, math.MaxInt64)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range rows {
			fmt.Println(b.Labels(ord, &sb), r.Samples, "samples, average", r.Sum/float64(r.Count()))
		}
	}
	// Output: {__name__="temperature", device_id="d1"} 2 samples, average 22
}
