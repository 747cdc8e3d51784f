package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/cmd/internal/fetch"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// dataFolder is the data folder of a stopped node.
type dataFolder struct{ s *store.Store }

func openFolder(dir string) (*dataFolder, error) {
	if _, err := os.Stat(filepath.Join(dir, "blocks")); err != nil {
		return nil, fmt.Errorf("%s is not a data folder: %w", dir, err)
	}
	s, err := openStopped(dir, store.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w; of a node that runs, give its --url instead", err)
	}
	return &dataFolder{s}, nil
}

func (d *dataFolder) close() error { return d.s.Close() }

func (d *dataFolder) Samples(ctx context.Context, q fetch.Query, emit func(*flow.Run) error) (err error) {
	querier, err := d.s.Querier(q.MinTime, q.MaxTime)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, querier.Close()) }()
	set := querier.Select(ctx, true, &storage.SelectHints{Start: q.MinTime, End: q.MaxTime}, q.Matchers...)
	var it chunkenc.Iterator
	var buf flow.Buffer
	for set.Next() {
		one := set.At()
		it = one.Iterator(it)
		if err := buf.Each(one.Labels(), nil, it, q.MinTime, q.MaxTime, emit); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}

func (d *dataFolder) Names(ctx context.Context, q fetch.Query) (names []string, err error) {
	querier, err := d.s.Querier(q.MinTime, q.MaxTime)
	if err != nil {
		return nil, err
	}
	names, _, err = querier.LabelValues(ctx, model.MetricNameLabel, nil, q.Matchers...)
	return names, errors.Join(err, querier.Close())
}

func (d *dataFolder) Metadata(context.Context) (map[string]*series.Metadata, error) {
	all := map[string]*series.Metadata{}
	d.s.Metadata(func(m series.Metadata) bool {
		all[m.Family] = &m
		return true
	})
	return all, nil
}
