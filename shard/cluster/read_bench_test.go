package cluster

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
)

// benchCluster is three nodes that all have the same of 1000 sensors and 20 hours.
func benchCluster(b *testing.B) *readCluster {
	c := newReadCluster(b, 3, 3, ReaderOptions{Fresh: 3 * time.Hour})
	var all []written
	for at := firstTime; at < lastTime; at += 60_000 {
		for d := range 1000 {
			all = append(all, written{ls: labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprint("d", d), "site", fmt.Sprint("s", d%7)), t: at, v: math.Round(100*math.Sin(float64(at/60_000+int64(d)*int64(d)))) / 10})
		}
		if len(all) >= 100_000 {
			for _, n := range c.nodes {
				appendTo(b, n.store, all)
			}
			all = all[:0]
		}
	}
	for _, n := range c.nodes {
		if err := n.store.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := n.store.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		appendTo(b, n.store, all)
	}
	return c
}

// BenchmarkAggregate is of one sensor and of all, by one node alone and by a cluster of three.
func BenchmarkAggregate(b *testing.B) {
	c := benchCluster(b)
	n := c.nodes[0]
	one := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "temperature"), labels.MustNewMatcher(labels.MatchEqual, "device_id", "d7")}
	all := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "__name__", "temperature")}
	for _, row := range []struct {
		name   string
		source Source
		ms     []*labels.Matcher
		mint   int64
	}{
		{"one/alone", source{n.store}, one, firstTime},
		{"one/cluster", asSource{n.reader}, one, firstTime},
		{"all/alone", source{n.store}, all, firstTime},
		{"all/cluster", asSource{n.reader}, all, firstTime},
		{"last hour of all/alone", source{n.store}, all, lastTime - 3_600_000},
		{"last hour of all/cluster", asSource{n.reader}, all, lastTime - 3_600_000},
	} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				if s, err := row.source.Aggregate(b.Context(), row.mint, lastTime, row.ms...); err != nil || s.Samples == 0 {
					b.Fatal(s.Samples, err)
				}
			}
		})
	}
}

// BenchmarkScan reads all chunks of all sensors with data.
func BenchmarkScan(b *testing.B) {
	c := benchCluster(b)
	n := c.nodes[0]
	all := labels.MustNewMatcher(labels.MatchEqual, "__name__", "temperature")
	for _, row := range []struct {
		name   string
		source Source
	}{{"alone", source{n.store}}, {"cluster", asSource{n.reader}}} {
		b.Run(row.name, func(b *testing.B) {
			for b.Loop() {
				sel, err := row.source.Scan(b.Context(), firstTime, lastTime, all)
				if err != nil {
					b.Fatal(err)
				}
				var cs []chunk.Chunk
				var buf []byte
				for i := range sel.Len() {
					if cs, err = sel.Chunks(cs[:0], &buf, i, nil); err != nil {
						b.Fatal(err)
					}
				}
				sel.Close()
			}
		})
	}
}
