package repair

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	rounds      *prometheus.CounterVec
	differences prometheus.Counter
	samples     prometheus.Counter
	rejected    prometheus.Counter
	bytes       prometheus.Counter
	unheard     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Repairer) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string, value func(Progress) int) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value(r.Progress())) })
	}
	gauge("minitrue_repair_copy_partitions", "Partitions that this node has to copy in the change of the ring that is under way.", func(p Progress) int { return p.Total })
	gauge("minitrue_repair_copied_partitions", "Partitions of these that it has copied.", func(p Progress) int { return p.Done })
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &metrics{
		rounds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_repair_rounds_total",
			Help: "Comparisons with peers, by outcome: equal, compared (they differed), hints (it waits for those), deletes (they have applied different ones), failed.",
		}, []string{"outcome"}),
		differences: counter("minitrue_repair_differences_total", "Windows of partitions in which a peer had something else, and which were looked into."),
		samples:     counter("minitrue_repair_samples_total", "Samples and histograms that were taken from peers and stored."),
		rejected:    counter("minitrue_repair_rejected_samples_total", "Samples and histograms of peers that cannot be stored here."),
		bytes:       counter("minitrue_repair_samples_bytes_total", "Bytes of the samples and labels that were taken from peers, before compression."),
		unheard:     counter("minitrue_repair_unheard_windows_total", "Differences that queries met and that found no room in the queue; rounds find them later."),
	}
}
