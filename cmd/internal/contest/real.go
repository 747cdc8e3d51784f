package contest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/bench"
)

// recording is one real series.
type recording struct {
	labels labels.Labels
	points []Point
}

// realSeries are recordings of sensors: how small they become, and whether they come back bit for bit.
func realSeries(ctx context.Context, b *bout) error {
	all, err := readFolder(b.o.SeriesDir)
	if err != nil {
		return err
	}
	next, total := bodies(all)
	w, err := b.write(ctx, "real series", total, func(l *bench.Loader) (bench.LoadReport, error) { return l.Post(ctx, next) })
	if err != nil {
		return err
	}
	if err := b.merge(ctx); err != nil {
		return err
	}
	apparent, allocated, err := b.disk(w.Samples)
	if err != nil {
		return err
	}
	b.record(Figure{ID: "real.disk", Name: fmt.Sprintf("disk a sample after merging, %d real series, %s samples", len(all), group(w.Samples)), Unit: Bytes, Goal: AtMost(1.45)}, apparent)
	b.record(Figure{ID: "real.allocated", Name: "the same, by allocated blocks", Unit: Bytes}, allocated)
	client := bench.NewClient(b.url)
	defer client.Close()
	var r readings
	for _, s := range all {
		got, err := readRaw(ctx, client, selector(s.labels), s.points[0].T-1, s.points[len(s.points)-1].T)
		if err != nil {
			return err
		}
		r.match(s.labels.String(), s.points, got)
	}
	b.record(Figure{ID: "real.changed", Name: "values that came back changed", Unit: Count, Goal: AtMost(0)}, float64(r.Changed))
	b.judgeReadings(r)
	return nil
}

// readFolder reads every CSV file of a folder.
func readFolder(dir string) (all []recording, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("%s has no file *.csv", dir)
	}
	for _, path := range paths {
		r, err := readSeries(path)
		if err != nil {
			return nil, fmt.Errorf("real series %s: %w", path, err)
		}
		all = append(all, r)
	}
	return all, err
}

// readSeries reads a file of lines "time in ms,value". Of samples at the same time the first counts.
func readSeries(path string) (r recording, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close()
	r.labels = labels.FromStrings(model.MetricNameLabel, "recording", "device_id", strings.TrimSuffix(filepath.Base(path), ".csv"))
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		ms, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), ",")
		t, err1 := strconv.ParseInt(ms, 10, 64)
		v, err2 := strconv.ParseFloat(value, 64)
		if err := cmp.Or(err1, err2); err != nil || !ok {
			return r, fmt.Errorf("line %d is not \"time in ms,value\": %q", n, lines.Text())
		}
		r.points = append(r.points, Point{t, v})
	}
	if err := lines.Err(); err != nil {
		return r, err
	}
	slices.SortStableFunc(r.points, func(a, b Point) int { return cmp.Compare(a.T, b.T) })
	r.points = slices.CompactFunc(r.points, func(a, b Point) bool { return a.T == b.T })
	if len(r.points) == 0 {
		return r, fmt.Errorf("it has no samples")
	}
	return r, nil
}

// bodies makes requests of all samples in the order of their times, as if they had been sent when they were taken.
func bodies(all []recording) (next func(dst []byte) ([]byte, int), total int64) {
	type sample struct {
		Point
		series int
	}
	var rest []sample
	heads := make([][]byte, len(all))
	for i, r := range all {
		heads[i] = series.AppendKey(nil, r.labels)
		for _, p := range r.points {
			rest = append(rest, sample{p, i})
		}
	}
	slices.SortStableFunc(rest, func(a, b sample) int { return cmp.Compare(a.T, b.T) })
	return func(dst []byte) ([]byte, int) {
		batch := rest[:min(perRequest, len(rest))]
		rest = rest[len(batch):]
		frames := make([][]byte, len(all))
		for _, s := range batch {
			f := append(frames[s.series], 0x12, 0, 0x09)
			at := len(f) - 2
			f = binary.LittleEndian.AppendUint64(f, math.Float64bits(s.V))
			f = binary.AppendUvarint(append(f, 0x10), uint64(s.T))
			f[at] = byte(len(f) - at - 1)
			frames[s.series] = f
		}
		for i, f := range frames {
			if len(f) > 0 {
				dst = binary.AppendUvarint(append(dst, 0x0a), uint64(len(heads[i])+len(f)))
				dst = append(append(dst, heads[i]...), f...)
			}
		}
		return dst, len(batch)
	}, int64(len(rest))
}
