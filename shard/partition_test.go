package shard

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
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

func TestPartitionOfKey(t *testing.T) {
	long := strings.Repeat("x", 300)
	rows := []labels.Labels{
		labels.FromStrings("__name__", "temperature", "device_id", "d1"),
		labels.FromStrings("A", "before", "__name__", "temperature", "a", "b", "device_id", "d1", "site", "a"),
		labels.FromStrings("__name__", "up", "job", "x"),
		labels.FromStrings("device_id", "d1", "job", "x"),
		labels.FromStrings("__name__", long, "device_id", long+"d"),
		labels.EmptyLabels(),
	}
	for _, ls := range rows {
		if got, want := PartitionOfKey(series.AppendKey(nil, ls), "device_id"), Partition(ls, "device_id"); got != want {
			t.Errorf("%.60s: partition %d by its key, %d by its labels", ls, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { PartitionOfKey([]byte("\x0a\x02\x0a\x00"), "device_id") }); n > 0 {
		t.Errorf("a malformed key allocates %v times", n)
	}
}

func BenchmarkPartitionOfKey(b *testing.B) {
	key := series.AppendKey(nil, labels.FromStrings("__name__", "temperature", "building", "building-12", "device_id", "device-000123", "model", "model-3", "room", "room-0012", "site", "site-3"))
	for b.Loop() {
		PartitionOfKey(key, "device_id")
	}
}
