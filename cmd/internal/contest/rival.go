package contest

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Rival is a server that takes part.
type Rival struct {
	Name    string // as a flag has it
	Title   string // as a table has it
	Exe     string // its executable
	Missing string // how to get it

	ready   string // the path that answers 200 when it serves
	args    func(dir string, ports []int) ([]string, error)
	show    func(ctx context.Context, url string) error // makes what was just written visible; nil means that it is
	merge   func(ctx context.Context, url string) error // nil means that it cannot be asked to
	version func(exe string) string
}

// The names of those who take part.
const (
	MiniTrue        = "minitrue"
	VictoriaMetrics = "victoriametrics"
	Prometheus      = "prometheus"
)

// Rivals are all who can take part; the caller fills in their executables.
func Rivals() []Rival {
	return []Rival{
		{Name: MiniTrue, Title: "MiniTrue", Missing: "go build -o bin/ ./cmd/minitrue", ready: "/-/ready",
			args: minitrueArgs, merge: minitrueMerge, version: moduleVersion},
		{Name: VictoriaMetrics, Title: "VictoriaMetrics", Missing: "apt-get install victoria-metrics", ready: "/health",
			args: victoriaArgs, show: victoriaFlush, merge: victoriaMerge, version: victoriaVersion},
		{Name: Prometheus, Title: "Prometheus",
			Missing: "go build -o bin/ -tags remove_all_sd github.com/prometheus/prometheus/cmd/prometheus",
			ready:   "/-/ready", args: prometheusArgs, version: moduleVersion},
	}
}

// maxSamples is how many samples a query may load on a server that limits them: as many as the largest needs.
const maxSamples = "1000000000"

// minitrueArgs leave everything at its default but where it is and what a query may load.
func minitrueArgs(dir string, ports []int) ([]string, error) {
	return []string{"--listen=127.0.0.1", "--port=" + strconv.Itoa(ports[0]),
		"--mqtt-listen=127.0.0.1:" + strconv.Itoa(ports[1]), "--data-dir=" + dir, "--query-max-samples=" + maxSamples}, nil
}

// victoriaArgs switch off the cache of results, since a cached answer would be measured, and make the current sample
// of a series the one that it is to Prometheus.
func victoriaArgs(dir string, ports []int) ([]string, error) {
	return []string{"-httpListenAddr=127.0.0.1:" + strconv.Itoa(ports[0]), "-storageDataPath=" + dir, "-retentionPeriod=100y",
		"-search.disableCache", "-search.latencyOffset=0s", "-search.maxLookback=5m", "-search.maxQueryDuration=10m",
		"-search.maxUniqueTimeseries=5000000", "-search.maxSeries=1000000", "-search.maxSamplesPerSeries=1000000000",
		"-search.maxSamplesPerQuery=" + maxSamples + "0", "-loggerLevel=WARN"}, nil
}

// outOfOrder is the window in which Prometheus takes samples that are older than the newest: connections of a
// backfill are not in step.
const outOfOrder = "40d"

func prometheusArgs(dir string, ports []int) ([]string, error) {
	config := filepath.Join(filepath.Dir(dir), "prometheus.yml")
	text := "global: {scrape_interval: 1h}\nstorage: {tsdb: {out_of_order_time_window: " + outOfOrder + "}}\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	return []string{"--config.file=" + config, "--web.listen-address=127.0.0.1:" + strconv.Itoa(ports[0]), "--storage.tsdb.path=" + dir,
		"--storage.tsdb.retention.time=100y", "--web.enable-remote-write-receiver", "--query.max-samples=" + maxSamples,
		"--query.timeout=10m", "--log.level=warn"}, nil
}

// errNoMerge says that a server knows no such request.
var errNoMerge = errors.New("this version has no such endpoint")

// minitrueMerge writes what is in memory to blocks and merges them.
func minitrueMerge(ctx context.Context, url string) error {
	for _, path := range []string{"/api/v1/admin/tsdb/flush", "/api/v1/admin/tsdb/compact"} {
		if err := call(ctx, http.MethodPost, url+path); err != nil {
			return err
		}
	}
	return nil
}

// victoriaFlush shows what VictoriaMetrics would show a second later.
func victoriaFlush(ctx context.Context, url string) error {
	return call(ctx, http.MethodGet, url+"/internal/force_flush")
}

// victoriaMerge begins a merge and waits until it has ended.
func victoriaMerge(ctx context.Context, url string) error {
	if err := victoriaFlush(ctx, url); err != nil {
		return err
	}
	if err := call(ctx, http.MethodGet, url+"/internal/force_merge"); err != nil {
		return err
	}
	for {
		body, err := get(ctx, url+"/metrics")
		if err != nil {
			return err
		}
		if !merging(body) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// merging looks for a merge that goes on in VictoriaMetrics's metrics.
func merging(metrics []byte) bool {
	for line := range bytes.Lines(metrics) {
		if bytes.HasPrefix(line, []byte("vm_active_force_merges")) || bytes.HasPrefix(line, []byte("vm_active_merges")) {
			if n := bytes.LastIndexByte(line, ' '); string(bytes.TrimSpace(line[n+1:])) != "0" {
				return true
			}
		}
	}
	return false
}

func call(ctx context.Context, method, url string) error {
	_, err := request(ctx, method, url)
	return err
}

func get(ctx context.Context, url string) ([]byte, error) { return request(ctx, http.MethodGet, url) }

func request(ctx context.Context, method, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed:
		return nil, fmt.Errorf("%s %s: %w", method, req.URL.Path, errNoMerge)
	case resp.StatusCode/100 != 2:
		return nil, fmt.Errorf("%s %s: %s: %.300s", method, url, resp.Status, body)
	}
	return body, err
}

// moduleVersion is what Go noted in the executable: the version of the module that it was built from, or the commit.
func moduleVersion(exe string) string {
	info, err := buildinfo.ReadFile(exe)
	if err != nil {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}

// victoriaVersion asks the executable, and the package manager when its builder left that out.
func victoriaVersion(exe string) string {
	if out, err := exec.Command(exe, "-version").CombinedOutput(); err == nil && len(bytes.TrimSpace(out)) > 0 {
		return string(bytes.TrimSpace(out))
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "victoria-metrics").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
