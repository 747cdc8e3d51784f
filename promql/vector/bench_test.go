package vector

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
)

// BenchmarkAvgOverTime asks for the averages of 100 of 2,000 series over an hour, which lie in one block.
func BenchmarkAvgOverTime(b *testing.B) {
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := &series.Batch{}
	for i := range 2000 {
		ls := labels.FromStrings("__name__", "temperature", "device_id", fmt.Sprintf("device-%06d", i), "room", fmt.Sprintf("room-%04d", i/100), "site", "site-1")
		batch.Series = append(batch.Series, series.Entry{Key: series.AppendKey(nil, ls), First: len(batch.Samples), Count: 360})
		for k := range 360 {
			batch.Samples = append(batch.Samples, series.Sample{T: dataStart + int64(k)*10_000, V: float64((i*31+k*k*7)%500) / 10})
		}
	}
	if err := s.Append(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	p := parser.NewParser(parser.Options{})
	below := prom.NewEngine(prom.EngineOpts{MaxSamples: 1e9, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: p})
	e := New(below, scanner{s}, Options{})
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		q, err := e.NewInstantQuery(b.Context(), s, nil, `avg_over_time(temperature{room="room-0007"}[1h])`, time.UnixMilli(dataStart+3600_000-n%100*1000))
		if err != nil {
			b.Fatal(err)
		}
		if res := q.Exec(b.Context()); res.Err != nil || len(res.Value.(prom.Vector)) != 100 {
			b.Fatal(res)
		}
		q.Close()
	}
}
