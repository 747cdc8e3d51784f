package store

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	samples, failed, stalls, flushErrors, compactErrors, quarantined, reindexed, deletes, counted prometheus.Counter
	flush, compact                                                                                prometheus.Histogram
	replay                                                                                        prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, s *Store) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "minitrue_store_" + name, Help: help})
	}
	duration := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "minitrue_store_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)})
	}
	m := metrics{
		samples:       counter("appended_samples_total", "Samples that were made durable."),
		failed:        counter("append_errors_total", "Appends that the log failed."),
		stalls:        counter("append_stalls_total", "Appends that had to wait until recent samples were written to disk."),
		flushErrors:   counter("flush_errors_total", "Memtables that could not be written to a block at the first try."),
		compactErrors: counter("compact_errors_total", "Merges of blocks that failed."),
		quarantined:   counter("quarantined_blocks_total", "Damaged blocks that were set aside."),
		reindexed:     counter("reindexed_blocks_total", "Blocks whose index was missing or damaged and was made anew."),
		deletes:       counter("deletes_total", "Deletes of samples by selector and time."),
		counted:       counter("digests_counted_total", "Digests of a partition in a window that were worked out by reading."),
		flush:         duration("flush_duration_seconds", "How long writing a memtable to blocks took."),
		compact:       duration("compact_duration_seconds", "How long merging blocks took."),
		replay:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "minitrue_store_replay_duration_seconds", Help: "How long replaying the log took at the last start."}),
	}
	if r == nil {
		return m
	}
	r.MustRegister(m.samples, m.failed, m.stalls, m.flushErrors, m.compactErrors, m.quarantined, m.reindexed, m.deletes, m.counted, m.flush, m.compact, m.replay)
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "minitrue_store_" + name, Help: help}, f))
	}
	gauge("active_series", "Series in memory.", func() float64 {
		v := s.view()
		defer v.close()
		return float64(v.activeSeries())
	})
	gauge("registry_bytes", "Memory of the labels and postings of active series.", func() float64 {
		v := s.view()
		defer v.close()
		n := int64(0)
		for _, r := range v.registries {
			n += r.Bytes()
		}
		return float64(n)
	})
	gauge("memtable_bytes", "Memory of the samples that are not in a block yet.", func() float64 {
		s.viewMu.Lock()
		defer s.viewMu.Unlock()
		n := int64(0)
		for _, t := range s.tables {
			n += t.Bytes()
		}
		return float64(n)
	})
	gauge("blocks", "Blocks on disk.", func() float64 { return float64(len(s.metas())) })
	return m
}
