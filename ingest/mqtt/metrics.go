package mqtt

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of one broker or client. The label source tells them apart.
type metrics struct {
	messages    prometheus.Counter
	failed      prometheus.Counter
	retries     prometheus.Counter
	batchSize   prometheus.Observer
	connections prometheus.Gauge
	refused     *prometheus.CounterVec
	dropped     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, source string) *metrics {
	if r != nil {
		r = prometheus.WrapRegistererWith(prometheus.Labels{"source": source}, r)
	}
	f := promauto.With(r)
	return &metrics{
		messages: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_mqtt_messages_total",
			Help: "Messages received on the topics that are stored.",
		}),
		failed: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_mqtt_failed_messages_total",
			Help: "Messages that were not stored and not acknowledged.",
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_mqtt_retries_total",
			Help: "Times that a batch of messages was tried again.",
		}),
		batchSize: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "minitrue_mqtt_batch_messages",
			Help:    "Messages in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		connections: f.NewGauge(prometheus.GaugeOpts{
			Name: "minitrue_mqtt_connections",
			Help: "Open connections.",
		}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_mqtt_refused_total",
			Help: "Connections, subscriptions and messages that were refused, by reason.",
		}, []string{"reason"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_mqtt_dropped_connections_total",
			Help: "Connections that were cut off, by reason.",
		}, []string{"reason"}),
	}
}
