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

func newDropped(r prometheus.Registerer, subsystem string, total func() int64) *prometheus.CounterVec {
	f := promauto.With(r)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "minitrue_" + subsystem + "_stored_bytes",
		Help: "Bytes on disk of writes that are kept for nodes that missed them.",
	}, func() float64 { return float64(total()) })
	return f.NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_" + subsystem + "_dropped_bytes_total",
		Help: "Bytes of writes that are not kept any more though nobody got them, by reason.",
	}, []string{"reason"})
}
