package store

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/compact"
	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/wal"
)

// Options of a store. The zero value is usable.
type Options struct {
	WAL           wal.Options
	Compact       compact.Options
	FS            disk.FS       // nil means disk.OS
	MemtableBytes int64         // chunks in memory that make a memtable full; 0 means 80 MiB
	CacheBytes    int64         // of what blocks have decompressed; 0 means 64 MiB
	CompactDuty   float64       // the part of one core that merging may take; 0 means 0.5
	FlushDuty     float64       // the part of its time that writing out a memtable works where little is written; 0 means 0.1
	FlushAge      time.Duration // how old a memtable gets; 0 means 2 h
	Retention     time.Duration // how long samples are kept; 0 means for ever
	RetentionSize int64         // bytes of blocks that are kept; 0 means all
	Downsample    []Resolution  // from fine to coarse; nil means not to
	Limits        series.Limits
	MaxSeries     int    // how many active series there may be before new ones are refused; 0 means any number
	DeviceLabel   string // the label that makes a shard key; "" means device_id
	Node          string // its name in the cluster: replicas of different names flush at different moments; "" means that there are none
	Exemplars     int    // how many are kept, of at most 64 MiB of labels; 0 means 100,000, less than 0 none
	Metadata      int    // how many metric families are described, in at most 64 MiB; 0 means 100,000

	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil means none
	Registerer prometheus.Registerer // nil means that metrics are not shown

	cycle duty.Cycle // the clock of what rests; for tests
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.WAL.FS == nil {
		o.WAL.FS = o.FS
	}
	if o.MemtableBytes == 0 {
		o.MemtableBytes = 80 << 20
	}
	if o.CompactDuty == 0 {
		o.CompactDuty = 0.5
	}
	if o.FlushDuty == 0 {
		o.FlushDuty = 0.1
	}
	if o.FlushAge == 0 {
		o.FlushAge = 2 * time.Hour
	}
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.Exemplars == 0 {
		o.Exemplars = 100_000
	}
	if o.Metadata == 0 {
		o.Metadata = 100_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.WAL.Logger == nil {
		o.WAL.Logger = o.Logger
	}
	if o.WAL.Registerer == nil {
		o.WAL.Registerer = o.Registerer
	}
	return o
}

// mostBytes is how much the active memtable may take while the one before it is being written out.
func (o Options) mostBytes() int64 { return o.MemtableBytes + o.MemtableBytes/4 }
