package shard

import (
	"encoding/binary"

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

// PartitionOfKey is Partition for the canonical key of a series, as the hot path has it. A key that is malformed has a
// partition too, and is refused by whoever parses it.
func PartitionOfKey(key []byte, deviceLabel string) uint16 {
	var name, device []byte // frames
	for i := 0; i < len(key); {
		label, value, next := frame(key, i)
		if next < 0 {
			return uint16(xxh3.Hash(key) % Partitions)
		}
		switch {
		case string(label) == model.MetricNameLabel && len(value) > 0:
			name = key[i:next]
		case string(label) == deviceLabel && len(value) > 0:
			device = key[i:next]
		}
		i = next
	}
	if name == nil || device == nil {
		return uint16(xxh3.Hash(key) % Partitions)
	}
	var h [256]byte
	return uint16(xxh3.Hash(append(append(h[:0], name...), device...)) % Partitions)
}

// frame reads the frame of a label at key[i:]; next is −1 when it is not as series.AppendLabel makes it.
func frame(key []byte, i int) (label, value []byte, next int) {
	body, next := field(key, i, 0x0a)
	if next < 0 {
		return nil, nil, -1
	}
	label, at := field(body, 0, 0x0a)
	if at < 0 {
		return nil, nil, -1
	}
	value, at = field(body, at, 0x12)
	if at != len(body) {
		return nil, nil, -1
	}
	return label, value, next
}

// field reads a length-delimited field with this tag at b[i:].
func field(b []byte, i int, tag byte) (value []byte, next int) {
	if i+1 >= len(b) || b[i] != tag {
		return nil, -1
	}
	if n := int(b[i+1]); n < 0x80 { // as almost all are
		if i += 2; n > len(b)-i {
			return nil, -1
		}
		return b[i : i+n], i + n
	}
	n, w := binary.Uvarint(b[i+1:])
	if i += 1 + w; w <= 0 || n > uint64(len(b)-i) {
		return nil, -1
	}
	return b[i : i+int(n)], i + int(n)
}
