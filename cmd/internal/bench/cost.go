package bench

import (
	"errors"
	"time"
)

// Cost is what a run cost the server.
type Cost struct {
	CPU          float64 `json:"server_cpu_seconds,omitempty"`
	CPUPerM      float64 `json:"server_cpu_seconds_per_million,omitempty"` // samples or messages
	RSS          int64   `json:"rss_bytes,omitempty"`
	AnonRSS      int64   `json:"rss_anonymous_bytes,omitempty"` // of that, what is no mapped file
	PeakRSS      int64   `json:"peak_rss_bytes,omitempty"`
	DiskApparent int64   `json:"disk_apparent_bytes,omitempty"`
	DiskAlloc    int64   `json:"disk_allocated_bytes,omitempty"`
	BytesASample float64 `json:"bytes_a_sample,omitempty"` // of the apparent size
}

// A Meter takes the cost of a run. The zero value measures nothing.
type Meter struct {
	PID     int    // of the server; 0 means not known
	DataDir string // of the server; "" means not known

	before time.Duration
}

// Start notes where the server's costs stand.
func (m *Meter) Start() (err error) {
	if m.PID != 0 {
		m.before, err = Process{m.PID}.CPU()
	}
	return err
}

// Stop returns the cost since Start of a run that moved n samples or messages. What can be measured is
// in the result even when it comes with an error: a server that was killed has no process.
func (m *Meter) Stop(n int64) (c Cost, err error) {
	if m.PID != 0 {
		after, err1 := Process{m.PID}.CPU()
		memory, err2 := Process{m.PID}.Memory()
		c.RSS, c.PeakRSS, c.AnonRSS = memory.Resident, memory.Peak, memory.Anonymous
		if err1 == nil {
			c.CPU = (after - m.before).Seconds()
			c.CPUPerM = c.CPU / float64(max(n, 1)) * 1e6
		}
		err = errors.Join(err1, err2)
	}
	if m.DataDir != "" {
		var err3 error
		c.DiskApparent, c.DiskAlloc, err3 = DiskUsage(m.DataDir)
		c.BytesASample = float64(c.DiskApparent) / float64(max(n, 1))
		err = errors.Join(err, err3)
	}
	return c, err
}
