package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
)

func newBlockInspect() *cobra.Command {
	var verify, asJSON bool
	c := &cobra.Command{
		Use:   "inspect <block folder>…",
		Short: "Print what blocks are, the sizes of their columns, and their encodings",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var errs error
			var all []inspection
			for _, dir := range args {
				in, err := inspect(filepath.Clean(dir), verify)
				if err != nil {
					errs = errors.Join(errs, err)
					continue
				}
				if all = append(all, in); !asJSON {
					errs = errors.Join(errs, in.print(c.OutOrStdout()))
				}
			}
			if asJSON {
				errs = errors.Join(errs, printJSON(c.OutOrStdout(), all))
			}
			return errs
		},
	}
	c.Flags().BoolVar(&verify, "verify", false, "read the whole block and check every checksum and statistic; exit code 1 if one is wrong")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

// inspection is what there is to say about a block.
type inspection struct {
	Meta      block.Meta          `json:"meta"`
	Columns   []column            `json:"columns"`
	Encodings map[string]encoding `json:"encodings"`
	Verified  bool                `json:"verified"`
}

// column is a column of one of the Parquet files.
type column struct {
	File         string `json:"file"`
	Name         string `json:"name"`
	Compressed   int64  `json:"compressed_bytes"`
	Uncompressed int64  `json:"uncompressed_bytes"`
	Codec        string `json:"codec"`
}

// encoding counts the chunks of one encoding.
type encoding struct {
	Chunks  uint64 `json:"chunks"`
	Samples uint64 `json:"samples"`
	Bytes   uint64 `json:"bytes"` // of their data
}

func inspect(dir string, verify bool) (in inspection, err error) {
	b, err := block.Open(dir, block.Options{})
	if err != nil {
		return in, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	in.Meta = b.Meta()
	for _, file := range []string{block.SeriesFile, block.ChunksFile} {
		cs, err := columns(dir, file)
		if err != nil {
			return in, err
		}
		in.Columns = append(in.Columns, cs...)
	}
	if in.Encodings, err = encodings(b); err != nil {
		return in, err
	}
	if verify {
		if err := b.Verify(); err != nil {
			return in, err
		}
		in.Verified = true
	}
	return in, nil
}

// columns adds up the column chunks of all row groups.
func columns(dir, name string) (cs []column, err error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p, err := parquet.OpenFile(f, fi.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Name(), err)
	}
	at := map[string]int{}
	for _, g := range p.Metadata().RowGroups {
		for _, c := range g.Columns {
			path := strings.Join(c.MetaData.PathInSchema, ".")
			i, ok := at[path]
			if !ok {
				i = len(cs)
				at[path] = i
				cs = append(cs, column{File: name, Name: path, Codec: strings.ToLower(c.MetaData.Codec.String())})
			}
			cs[i].Compressed += c.MetaData.TotalCompressedSize
			cs[i].Uncompressed += c.MetaData.TotalUncompressedSize
		}
	}
	return cs, nil
}

// encodings reads every row, and with it the checksum of every chunk.
func encodings(b *block.Block) (map[string]encoding, error) {
	byEncoding := map[chunk.Encoding]encoding{}
	var rows []block.Row
	for ord := range uint32(b.Meta().Series) {
		var err error
		if rows, err = b.Chunks(rows[:0], ord, math.MinInt64, math.MaxInt64); err != nil {
			return nil, err
		}
		for _, r := range rows {
			c, err := b.Chunk(r)
			if err != nil {
				return nil, err
			}
			e := byEncoding[r.Encoding]
			e.Chunks++
			e.Samples += r.Samples
			e.Bytes += uint64(len(c.Times) + len(c.Data))
			byEncoding[r.Encoding] = e
		}
	}
	named := map[string]encoding{}
	for e, n := range byEncoding {
		named[e.String()] = n
	}
	return named, nil
}

func (in inspection) print(w io.Writer) error {
	m := in.Meta
	t := newTable(w)
	samples := float64(max(m.Samples, 1))
	t.row("block", "%s, format version %d, level %d, %d parents", m.ULID, m.Version, m.Level, len(m.Parents))
	t.row("times", "%s to %s", stamp(m.MinTime), stamp(m.MaxTime))
	t.row("holds", "%d series, %d chunks, %d samples", m.Series, m.Chunks, m.Samples)
	t.row("size", "%d bytes, %.3f a sample", m.Bytes(), float64(m.Bytes())/samples)
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		t.row("  "+name, "%d bytes, %.3f a sample", m.Files[name].Size, float64(m.Files[name].Size)/samples)
		for _, c := range in.Columns {
			if c.File == name {
				t.row("    "+c.Name, "%d bytes, %.3f a sample, %s, %d uncompressed", c.Compressed, float64(c.Compressed)/samples, c.Codec, c.Uncompressed)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Encodings)) {
		e := in.Encodings[name]
		t.row("encoding "+name, "%d chunks, %d samples, %d bytes, %.3f a sample", e.Chunks, e.Samples, e.Bytes, float64(e.Bytes)/float64(max(e.Samples, 1)))
	}
	if in.Verified {
		t.row("verified", "every checksum, order and statistic is right")
	}
	return t.flush()
}
