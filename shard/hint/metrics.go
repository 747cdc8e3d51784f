package hint

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why hints are dropped, as it stands in metrics.
const (
	dropFull    = "full"
	dropOld     = "old"
	dropDamaged = "damaged"
	dropDisk    = "disk"
)

func newDropped(r prometheus.Registerer, total func() int64) *prometheus.CounterVec {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_hint_stored_bytes",
		Help: "Bytes on disk of writes that are kept for nodes that missed them.",
	}, func() float64 { return float64(total()) })
	return f.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_hint_dropped_bytes_total",
		Help: "Bytes of hints that nobody will get, by reason; what was in them is repaired by comparing digests.",
	}, []string{"reason"})
}
