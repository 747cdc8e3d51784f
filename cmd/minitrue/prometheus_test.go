package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// startPrometheus starts Prometheus's own server with this configuration, and returns its URL.
func startPrometheus(t *testing.T, config string, flags ...string) string {
	t.Helper()
	exe := builder.Build(t, "MINITRUE_PROMETHEUS", "github.com/prometheus/prometheus/cmd/prometheus", "-tags", "remove_all_sd")
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Next(t))
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(config, "SELF", addr)), 0o644); err != nil {
		t.Fatal(err)
	}
	p := proc.Start(t, exe, append([]string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr,
	}, flags...)...)
	p.UntilOK(t, "http://"+addr+"/-/ready")
	return "http://" + addr
}

// exporter is a node_exporter that can go away and come back.
type exporter struct {
	*proc.Process
	exe, addr string
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	exe, ok := proc.Lookup(t, "prometheus-node-exporter")
	if !ok {
		t.Log("prometheus-node-exporter is not installed: Prometheus scrapes itself alone")
		return nil
	}
	e := &exporter{exe: exe, addr: fmt.Sprintf("127.0.0.1:%d", ports.Next(t))}
	e.start(t)
	return e
}

func (e *exporter) start(t *testing.T) {
	t.Helper()
	e.Process = proc.Start(t, e.exe, "--web.listen-address="+e.addr, "--collector.disable-defaults",
		"--collector.cpu", "--collector.meminfo", "--collector.loadavg", "--collector.stat", "--collector.vmstat")
	e.UntilOK(t, "http://"+e.addr+"/metrics")
}

// senderConfig is that of a Prometheus that scrapes itself and, when there is one, an exporter each
// second, and writes everything to two nodes, to each by another version of the protocol.
func senderConfig(v1, v2 *node, e *exporter) string {
	var b strings.Builder
	b.WriteString(`
global: {scrape_interval: 1s, scrape_timeout: 900ms, scrape_native_histograms: true}
scrape_configs:
- {job_name: prometheus, static_configs: [{targets: [SELF]}]}
`)
	if e != nil {
		fmt.Fprintf(&b, "- {job_name: node, static_configs: [{targets: [%q]}]}\n", e.addr)
	}
	b.WriteString("remote_write:\n")
	for _, to := range []struct{ name, url, message string }{
		{"v1", v1.url, "prometheus.WriteRequest"},
		{"v2", v2.url, "io.prometheus.write.v2.Request"},
	} {
		fmt.Fprintf(&b, `
- name: %[1]s
  url: %[2]s/api/v1/write
  protobuf_message: %[3]s
  send_native_histograms: true
  send_exemplars: true
  write_relabel_configs: [{target_label: receiver, replacement: %[1]s}]
  queue_config: {batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 200ms}
  metadata_config: {send_interval: 1s}
`, to.name, to.url, to.message)
	}
	return b.String()
}

// Prometheus scrapes and sends to two nodes, which are killed in the middle, while a target goes away
// and comes back. Another Prometheus, which has nothing, reads it all from the nodes.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	began := time.Now().Add(-time.Minute)
	v1, v2, e := startNode(t), startNode(t), newExporter(t)
	sender := startPrometheus(t, senderConfig(v1, v2, e), "--enable-feature=exemplar-storage,metadata-wal-records")

	scrapes := func(n int) {
		t.Helper()
		for _, node := range []*node{v1, v2} {
			untilScalar(t, node.url, `max(timestamp(up{job="prometheus"}))`, func(v float64) bool { return v > 0 })
			since, err := scalar(node.url, `max(timestamp(up{job="prometheus"}))`)
			if err != nil {
				t.Fatal(err)
			}
			untilScalar(t, node.url, `max(timestamp(up{job="prometheus"}))`, func(v float64) bool { return v >= since+float64(n) })
		}
	}
	untilScalar(t, v1.url, `sum(count_over_time(up[1h]))`, func(v float64) bool { return v >= 3 })
	untilScalar(t, v2.url, `sum(count_over_time(up[1h]))`, func(v float64) bool { return v >= 3 })
	if e != nil {
		e.Kill(t)
	}
	scrapes(1)
	v1.Kill(t)
	v2.Kill(t)
	untilScalar(t, sender, `min(sum by (remote_name) (prometheus_remote_storage_samples_retried_total))`, func(v float64) bool { return v > 0 })
	v1.start(t)
	v2.start(t)
	if e != nil {
		e.start(t)
	}
	scrapes(3)

	end := time.Now()
	// What a scrape finds has the time at which it began: when every target is scraped once more, nothing before end is still to come.
	untilScalar(t, sender, `min(timestamp(up))`, func(v float64) bool { return v > float64(end.UnixMilli())/1000 })
	for _, receiver := range []struct {
		name string
		node *node
	}{{"v1", v1}, {"v2", v2}} {
		t.Run(receiver.name, func(t *testing.T) { sameByRemoteRead(t, sender, receiver.node.url, receiver.name, began, end) })
	}
	reader := startPrometheus(t, fmt.Sprintf("remote_read:\n- {url: %s/api/v1/read, read_recent: true}\n- {url: %s/api/v1/read, read_recent: true}\n", v1.url, v2.url))
	for _, name := range []string{"v1", "v2"} {
		t.Run("PromQL "+name, func(t *testing.T) { sameByPromQL(t, sender, reader, name, began, end) })
	}
	t.Run("promtool", func(t *testing.T) { promtool(t, v2, end) })
	t.Run("metadata", func(t *testing.T) {
		for _, n := range []*node{v1, v2} {
			proc.Until(t, "the metadata of a counter is there", func() error {
				body, err := fetch(n.url + "/api/v1/metadata?metric=prometheus_http_requests_total")
				if err == nil && !strings.Contains(string(body), "Counter of HTTP requests.") {
					err = fmt.Errorf("metadata of a counter: %s", body)
				}
				return err
			})
		}
	})
}

// sameByRemoteRead compares every sample bit for bit, native histograms and stale markers among them.
func sameByRemoteRead(t *testing.T, sender, receiver, name string, began, end time.Time) {
	want, err := read(t, sender, began, end, "", everything())
	if err != nil {
		t.Fatal(err)
	}
	var got samples
	proc.Until(t, "the queue is empty and every sample is there", func() (err error) {
		got, err = read(t, receiver, began, end, "receiver", everything(), labels.MustNewMatcher(labels.MatchEqual, "receiver", name))
		if err != nil {
			return err
		}
		return differ(want, got)
	})
	stale, histograms := 0, 0
	for _, samples := range got {
		for _, v := range samples {
			switch {
			case strings.HasSuffix(v, "0x7ff0000000000002"):
				stale++
			case strings.HasPrefix(v, "{"):
				histograms++
			}
		}
	}
	t.Logf("%d series, %d samples, of which %d are stale markers and %d native histograms", len(got), got.count(), stale, histograms)
	if stale == 0 || histograms == 0 {
		t.Error("want some of both")
	}
}

// sameByPromQL compares what the sender has with what a Prometheus without samples reads from the node.
func sameByPromQL(t *testing.T, sender, reader, name string, began, end time.Time) {
	window := fmt.Sprintf("[%dms]", end.Sub(began).Milliseconds())
	want, err := instant(sender, `{__name__!=""}`+window, end)
	if err != nil {
		t.Fatal(err)
	}
	got, err := instant(reader, fmt.Sprintf(`{receiver=%q}`, name)+window, end)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		delete(r.Metric, "receiver")
	}
	a, b := flat(t, want), flat(t, got)
	if len(a) == 0 {
		t.Fatal("the sender has nothing")
	}
	for key, v := range a {
		if b[key] != v {
			t.Errorf("%s is\n%s, and the sender has\n%s", key, b[key], v)
		}
	}
	if len(b) != len(a) {
		t.Errorf("%d series, and the sender has %d", len(b), len(a))
	}
}

// flat writes each series of an answer as text.
func flat(t *testing.T, rs []result) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range rs {
		key, err := json.Marshal(r.Metric)
		if err != nil {
			t.Fatal(err)
		}
		value, err := json.Marshal([]any{r.Values, r.Histograms})
		if err != nil {
			t.Fatal(err)
		}
		all[string(key)] = string(value)
	}
	return all
}

// promtool asks the node with the tool that operators use.
func promtool(t *testing.T, n *node, end time.Time) {
	exe := builder.Build(t, "MINITRUE_PROMTOOL", "github.com/prometheus/prometheus/cmd/promtool", "-tags", "remove_all_sd")
	prints := func(t time.Time) string { return model.Time(t.UnixMilli()).String() } // without zeros at the end
	// It is one also where a scrape took too long and up is 0.
	const one = `count by (receiver) (up{job="prometheus"})`
	rows := []struct {
		name string
		args []string
		want string
	}{
		{"instant", []string{"instant", "--time", seconds(end), n.url, one}, `receiver="v2"} => 1 @[` + prints(end) + "]"},
		{"range", []string{"range", "--start", seconds(end.Add(-2 * time.Second)), "--end", seconds(end), "--step", "1s", n.url, one}, "1 @[" + prints(end.Add(-time.Second)) + "]"},
		{"series", []string{"series", "--match", "up", n.url}, `job="prometheus"`},
		{"labels", []string{"labels", n.url, "receiver"}, "v2"},
	}
	for _, row := range rows {
		out, err := exec.Command(exe, slices.Concat([]string{"query"}, row.args)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), row.want) {
			t.Errorf("promtool query %s: %v, it printed\n%s, want %s", row.name, err, out, row.want)
		}
	}
}
