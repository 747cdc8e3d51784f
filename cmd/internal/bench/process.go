package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Process is a running program, seen through /proc. Only Linux has that.
type Process struct{ PID int }

// tick is the unit of times in /proc/<pid>/stat: Linux shows them to programs in
// hundredths of a second whatever its own clock is.
const tick = 10 * time.Millisecond

// CPU is the time that the process has spent so far, user and system, all threads.
func (p Process) CPU() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return 0, fmt.Errorf("CPU of process %d: %w", p.PID, err)
	}
	// The name, in parentheses, may hold anything: count fields from its end.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("CPU of process %d: %d fields in stat", p.PID, len(fields))
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("CPU of process %d: %w", p.PID, err)
	}
	return time.Duration(user+system) * tick, nil
}

// Memory is resident memory in bytes.
type Memory struct {
	Resident, Peak int64 // now and at its highest
	Anonymous      int64 // of that now, what is no mapped file
}

// Memory is the resident memory of the process.
func (p Process) Memory() (m Memory, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return m, fmt.Errorf("memory of process %d: %w", p.PID, err)
	}
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			m.Resident = n << 10
		case "VmHWM:":
			m.Peak = n << 10
		case "RssAnon:":
			m.Anonymous = n << 10
		}
	}
	if m.Resident == 0 || m.Peak == 0 {
		return m, fmt.Errorf("memory of process %d: it has no VmRSS or VmHWM: has it ended?", p.PID)
	}
	return m, nil
}

// ownCPU is what this program has spent so far, user and system.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// DiskUsage adds up the files under a folder: their lengths, and the room that they
// take on the disk. Files that vanish meanwhile are left out.
func DiskUsage(dir string) (apparent, allocated int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var fi fs.FileInfo
			if fi, err = d.Info(); err == nil {
				apparent += fi.Size()
				if st, ok := fi.Sys().(*syscall.Stat_t); ok {
					allocated += int64(st.Blocks) * 512
				}
			}
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("disk usage of %s: %w", dir, err)
	}
	return apparent, allocated, nil
}
