package shard

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/zeebo/xxh3"

	"github.com/minitrue/minitrue/chunk/series"
)

// Partitions is how many partitions there are. It is in files and never changes.
const Partitions = 4096

// Partition returns the partition of a series. Its shard key is the metric name
// and the value of the label deviceLabel where the series has both, so that a
// question about one device and one metric concerns one partition; else it is the whole label set.
func Partition(ls labels.Labels, deviceLabel string) uint16 {
	name, device := ls.Get(model.MetricNameLabel), ls.Get(deviceLabel)
	var key []byte
	if name != "" && device != "" {
		key = series.AppendLabel(key, model.MetricNameLabel, name)
		key = series.AppendLabel(key, deviceLabel, device)
	} else {
		key = series.AppendKey(key, ls)
	}
	return uint16(xxh3.Hash(key) % Partitions)
}
