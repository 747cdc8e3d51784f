package shard

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

func TestPartition(t *testing.T) {
	// The numbers are golden: data lies by them on disks.
	rows := []struct {
		name string
		ls   labels.Labels
		want uint16
	}{
		{"device", labels.FromStrings("__name__", "temperature", "device_id", "d1"), 1809},
		{"the other labels of a device do not matter", labels.FromStrings("__name__", "temperature", "device_id", "d1", "site", "a"), 1809},
		{"no device", labels.FromStrings("__name__", "up", "job", "x"), 334},
		{"no device, other labels", labels.FromStrings("__name__", "up", "job", "y"), 126},
	}
	for _, r := range rows {
		if got := Partition(r.ls, "device_id"); got != r.want {
			t.Errorf("%s: partition %d, want %d", r.name, got, r.want)
		}
	}
}
