package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fetch"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/flow"
	"github.com/minitrue/minitrue/cmd/internal/format"
	"github.com/minitrue/minitrue/cmd/internal/proc"
	"github.com/minitrue/minitrue/cmd/internal/promdata"
)

var (
	builder proc.Builder // of the programs that the tests run
	ports   proc.Ports
)

// asCommand makes this test's own executable minitruectl.
const asCommand = "MINITRUECTL_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	code := m.Run()
	if err := builder.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// startNode starts a real node and returns its URL and its data folder.
func startNode(t *testing.T) (p *proc.Process, url, data string) {
	t.Helper()
	exe := builder.Build(t, "", "github.com/minitrue/minitrue/cmd/minitrue", proc.Race()...)
	data = filepath.Join(t.TempDir(), "data")
	port := ports.Next(t)
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	p = proc.Start(t, exe, "--port", strconv.Itoa(port), "--mqtt-listen", fmt.Sprintf("127.0.0.1:%d", ports.Next(t)), "--data-dir", data)
	p.UntilOK(t, url+"/-/ready")
	return p, url, data
}

// must runs minitruectl, which must succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("minitruectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// held is everything that a server has, histograms in the form in which two are equal when they say the same.
func held(t *testing.T, url string) (all []flow.Run) {
	t.Helper()
	s, err := serverOf(url)
	if err != nil {
		t.Fatal(err)
	}
	q := fetch.Query{MinTime: 0, MaxTime: 1 << 50, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")}}
	if err := s.Samples(t.Context(), q, collect(&all)); err != nil {
		t.Fatal(err)
	}
	return all
}

func collect(all *[]flow.Run) func(*flow.Run) error {
	return func(r *flow.Run) error {
		c := flow.Run{Labels: r.Labels, Floats: append([]series.Sample(nil), r.Floats...)}
		for _, h := range r.Histograms {
			if h.Int != nil && value.IsStaleNaN(h.Int.Sum) {
				h.Int = &histogram.Histogram{Sum: h.Int.Sum} // chunks keep no more of a stale marker
			}
			if h.Int != nil {
				h.Int = h.Int.Copy().Compact(0)
				h.Int.CounterResetHint = 0
			} else {
				h.Float = h.Float.Copy().Compact(0)
				h.Float.CounterResetHint = 0
			}
			c.Histograms = append(c.Histograms, h)
		}
		*all = append(*all, c)
		return nil
	}
}

// recent are runs whose times a node and Prometheus take.
func recent(runs []flow.Run, rng *rand.Rand) []flow.Run {
	for i := range runs {
		at := int64(fixture.Start)
		for j := range runs[i].Floats {
			at += 1 + rng.Int64N(100_000)
			runs[i].Floats[j].T = at
		}
		for j := range runs[i].Histograms {
			at += 1 + rng.Int64N(100_000)
			runs[i].Histograms[j].T = at
		}
	}
	return runs
}

func writeFile(t *testing.T, name string, runs []flow.Run) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "samples."+name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := format.NewWriter(name, f)
	if err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		if err := w.Write(&runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Through a real node and every format, from the node and from its folder, and back into another node: all bits are the same.
func TestExportAndImportAreTheIdentity(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 2))
	want := recent(fixture.Runs(rng, 40, fixture.Shape{Histograms: true, Payloads: true, Names: true}), rng)
	node, url, data := startNode(t)
	must(t, "import", "jsonl", writeFile(t, "jsonl", want), "--url", url)
	var normal []flow.Run
	for i := range want {
		if err := collect(&normal)(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if d := fixture.Diff(normal, held(t, url)); d != "" {
		t.Fatal(d)
	}
	files := map[string]string{}
	for _, name := range format.Formats {
		files[name] = filepath.Join(t.TempDir(), "all."+name)
		must(t, "export", "--url", url, "--format", name, "--output", files[name])
	}
	if out := must(t, "verify", "--data-dir", data); !strings.Contains(out, "every checksum") {
		t.Errorf("of a node that runs: %s", out)
	}
	if code := node.Stop(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, name := range format.Formats {
		t.Run(name, func(t *testing.T) {
			offline := filepath.Join(t.TempDir(), "offline")
			must(t, "export", "--data-dir", data, "--format", name, "--output", offline)
			if name != "parquet" && name != "jsonl" && read(t, offline) != read(t, files[name]) { // jsonl: where a run ends is the server's choice
				t.Error("the folder and the node give different files")
			}
			_, other, _ := startNode(t)
			must(t, "import", name, files[name], "--url", other, "--state", filepath.Join(t.TempDir(), "state"))
			if d := fixture.Diff(carried(name, normal), held(t, other)); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// carried is what a format carries.
func carried(name string, runs []flow.Run) (all []flow.Run) {
	for _, r := range runs {
		if name != "jsonl" {
			r.Histograms = nil
		}
		if name == "openmetrics" {
			var kept []series.Sample
			for _, s := range r.Floats {
				switch {
				case value.IsStaleNaN(s.V):
				case s.V != s.V:
					kept = append(kept, series.Sample{T: s.T, V: math.NaN()})
				default:
					kept = append(kept, s)
				}
			}
			r.Floats = kept
		}
		all = append(all, r)
	}
	return all
}

// promtool makes blocks of our OpenMetrics text; a Prometheus opens them and scrapes itself; and what it has then arrives at a node
// by its folder and by remote_read, sample by sample.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	promtool := builder.Build(t, "MINITRUE_PROMTOOL", "github.com/prometheus/prometheus/cmd/promtool", "-tags", "remove_all_sd")
	dir := filepath.Join(t.TempDir(), "prometheus")
	var old []flow.Run
	for i := range fixture.Series - 1 {
		r := flow.Run{Labels: fixture.Labels(i)}
		for n := range 300 {
			r.Floats = append(r.Floats, series.Sample{T: time.Now().Add(-24*time.Hour).UnixMilli()/1000*1000 + int64(n)*61_007, V: fixture.Value(i, n)})
		}
		old = append(old, r)
	}
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", writeFile(t, "openmetrics", old), dir).CombinedOutput(); err != nil {
		t.Fatalf("promtool: %v\n%s", err, out)
	}
	p, url := startPrometheus(t, dir, "global: {scrape_interval: 200ms, scrape_timeout: 200ms, scrape_native_histograms: true}\nscrape_configs:\n- {job_name: self, static_configs: [{targets: [SELF]}]}\n")
	scrapes(t, url)
	if _, err := run(t, "import", "prometheus", "--dir", dir); err == nil || !strings.Contains(err.Error(), "stop it") {
		t.Errorf("the folder of a running server: %v", err)
	}
	p.Stop(t)
	var want []flow.Run
	src := promdata.Source{Dir: dir, MinTime: 0, MaxTime: 1 << 50, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")}}
	if err := src.Read(t.Context(), 0, collect(&want), func(int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	floats, histograms := 0, 0
	for _, r := range want {
		floats, histograms = floats+len(r.Floats), histograms+len(r.Histograms)
	}
	t.Logf("%d samples, %d native histograms", floats, histograms)
	if floats <= len(old)*300 || histograms == 0 {
		t.Error("want some of both, of blocks and of the log")
	}
	if d := fixture.Diff(old, only(want, "temperature")); d != "" {
		t.Errorf("promtool has made other samples of the text: %s", d)
	}

	_, node, _ := startNode(t)
	must(t, "import", "prometheus", "--dir", dir, "--url", node, "--state", filepath.Join(t.TempDir(), "state"), "--window", "2h")
	if d := fixture.Diff(want, held(t, node)); d != "" {
		t.Errorf("by the folder: %s", d)
	}
	_, url = startPrometheus(t, dir, "{}")
	_, other, _ := startNode(t)
	must(t, "import", "remote-read", "--from", url, "--url", other, "--start", time.Now().Add(-48*time.Hour).Format(time.RFC3339))
	if d := fixture.Diff(want, held(t, other)); d != "" {
		t.Errorf("by remote_read: %s", d)
	}
}

// startPrometheus starts Prometheus's server on a data folder. SELF in its configuration is its own address.
func startPrometheus(t *testing.T, dir, config string) (p *proc.Process, url string) {
	t.Helper()
	exe := builder.Build(t, "MINITRUE_PROMETHEUS", "github.com/prometheus/prometheus/cmd/prometheus", "-tags", "remove_all_sd")
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Next(t))
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "SELF", addr)), 0o644); err != nil {
		t.Fatal(err)
	}
	p = proc.Start(t, exe, "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+addr)
	p.UntilOK(t, "http://"+addr+"/-/ready")
	return p, "http://" + addr
}

// scrapes waits until the server has scraped itself some times.
func scrapes(t *testing.T, url string) {
	t.Helper()
	proc.Until(t, "it has scraped itself", func() error {
		resp, err := http.Get(url + "/api/v1/query?query=" + "count_over_time(up[1m])%3E5")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		if _, err := b.ReadFrom(resp.Body); err != nil || !strings.Contains(b.String(), `"value"`) {
			return fmt.Errorf("%s: %w", b.String(), err)
		}
		return nil
	})
}

func only(runs []flow.Run, name string) (some []flow.Run) {
	for _, r := range runs {
		if r.Labels.Get("__name__") == name {
			some = append(some, r)
		}
	}
	return some
}
