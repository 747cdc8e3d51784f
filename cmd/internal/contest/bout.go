package contest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// bout is one server's turn at one load.
type bout struct {
	o       *Options
	rival   Rival
	load    load
	report  *Report
	answers answers
	now     int64 // the end of the data, ms
	dir     string
	cancel  context.CancelCauseFunc

	program *program
	url     string
	broker  string
}

func (b *bout) logf(format string, args ...any) {
	b.o.Log("%-8s %-16s %s", b.load.name, b.rival.Title, fmt.Sprintf(format, args...))
}

func (b *bout) dataDir() string { return filepath.Join(b.dir, "data") }

func (b *bout) record(f Figure, v float64) { b.report.record(f, b.rival.Name, v) }

func (b *bout) raw(name string, v any) {
	b.report.Raw = append(b.report.Raw, Raw{b.load.name, b.rival.Name, name, v})
}

// begin starts the server and returns when it is ready. Its death cancels the bout.
func (b *bout) begin(ctx context.Context) error {
	_, err := b.start(ctx)
	return err
}

func (b *bout) start(ctx context.Context) (took time.Duration, err error) {
	ports, err := freePorts(2)
	if err != nil {
		return 0, err
	}
	args, err := b.rival.args(b.dataDir(), ports)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	p, err := launch(b.rival.Exe, args, []string{"GOMAXPROCS=" + strconv.Itoa(b.o.Procs)}, filepath.Join(b.dir, "log"))
	if err != nil {
		return 0, err
	}
	b.program = p
	b.url, b.broker = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	go func() {
		<-p.done
		if !p.told.Load() {
			b.cancel(p.ended())
		}
	}()
	if err := b.untilReady(ctx); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

const readyPatience = 10 * time.Minute

func (b *bout) untilReady(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(readyPatience); ; {
		resp, err := client.Get(b.url + b.rival.ready)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v; it printed last:\n%s", b.rival.Title, readyPatience, tail(b.program.log, 12))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// restart ends the server in one of two ways and starts it again.
func (b *bout) restart(ctx context.Context, end func() error) (time.Duration, error) {
	if err := end(); err != nil {
		return 0, err
	}
	took, err := b.start(ctx)
	b.logf("is ready again after %v", took.Round(time.Millisecond))
	return took, err
}

func (b *bout) stop() error { return b.program.stop() }
func (b *bout) kill() error { b.program.kill(); return nil }

// written is what a load cost.
type written struct {
	bench.LoadReport
	Cost bench.Cost `json:"cost"`
}

// write runs a load of so many samples and measures the server meanwhile.
func (b *bout) write(ctx context.Context, name string, total int64, do func(*bench.Loader) (bench.LoadReport, error)) (w written, err error) {
	l, err := bench.NewLoader(bench.LoadOptions{URL: b.url, Progress: func(n int64) {
		b.logf("has %s of %s samples", group(n), group(total))
	}})
	if err != nil {
		return w, err
	}
	defer l.Close()
	meter := bench.Meter{PID: b.program.pid()}
	if err := meter.Start(); err != nil {
		return w, err
	}
	wait := b.profile(ctx, strings.ReplaceAll(name, " ", "-"))
	defer wait()
	w.LoadReport, err = do(l)
	if err != nil {
		return w, err
	}
	w.Cost, err = meter.Stop(w.Samples)
	b.raw(name, w)
	b.logf("%s: %s samples in %.1f s, %.2f s of CPU a million", name, group(w.Samples), w.Seconds, w.Cost.CPUPerM)
	return w, err
}

const perRequest = 2000 // samples

// cut cuts series [first, last) into batches of one sample of each, as many as a request has room for.
func cut(s workload.Shape, first, last int) (batches []*workload.Batch, err error) {
	for ; first < last; first += perRequest {
		b, err := s.NewBatch(workload.V1, first, min(first+perRequest, last))
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
	return batches, nil
}

// merge asks the server to write out and merge what it has, and waits until it has. What that costs is noted.
func (b *bout) merge(ctx context.Context) error {
	if b.rival.merge == nil {
		b.report.note("%s cannot be asked to merge: its disk is measured as it is, head and log included", b.rival.Title)
		return nil
	}
	meter := bench.Meter{PID: b.program.pid()}
	if err := meter.Start(); err != nil {
		return err
	}
	began := time.Now()
	if err := b.rival.merge(ctx, b.url); errors.Is(err, errNoMerge) {
		b.report.note("%s was not merged: %v; its disk is measured as it is", b.rival.Title, err)
		return nil
	} else if err != nil {
		return err
	}
	cost, err := meter.Stop(1)
	b.raw("merge", map[string]float64{"wall_seconds": time.Since(began).Seconds(), "cpu_seconds": cost.CPU, "rss_bytes": float64(cost.RSS)})
	b.logf("merged in %v", time.Since(began).Round(100*time.Millisecond))
	return err
}

// disk measures the whole data folder.
func (b *bout) disk(samples int64) (apparent, allocated float64, err error) {
	a, d, err := bench.DiskUsage(b.dataDir())
	b.raw("disk", map[string]int64{"apparent_bytes": a, "allocated_bytes": d, "samples": samples})
	return float64(a) / float64(samples), float64(d) / float64(samples), err
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }
