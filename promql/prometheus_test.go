package promql_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
)

// prometheusBinary finds or builds Prometheus's own server; the environment
// variable MINITRUE_PROMETHEUS may name one that is built already.
func prometheusBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MINITRUE_PROMETHEUS"); path != "" {
		return path
	}
	if os.Getenv("CI") != "true" {
		t.Skip("MINITRUE_PROMETHEUS does not name a prometheus binary: go build -tags remove_all_sd github.com/prometheus/prometheus/cmd/prometheus")
	}
	t.Fatal("MINITRUE_PROMETHEUS must name a prometheus binary in CI")
	return ""
}

// startPrometheus runs a real Prometheus with the known data and returns its address.
func startPrometheus(t *testing.T) string {
	t.Helper()
	binary, dir := prometheusBinary(t), t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	addr := freeAddress(t)
	cmd := exec.Command(binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y",
		"--enable-feature=exemplar-storage,promql-per-step-stats")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && testing.Verbose() {
			t.Log(log.String())
		}
	})
	base := "http://" + addr
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(base + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("prometheus is not ready: %v\n%s", err, log.String())
		}
	}
	push(t, base)
	return base
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// push sends the known data by remote_write, ten steps a request.
func push(t *testing.T, base string) {
	t.Helper()
	for from := 0; from < dataSteps; from += 10 {
		var req prompb.WriteRequest
		for _, s := range knownData() {
			ts := prompb.TimeSeries{Labels: prompb.FromLabels(s.ls, nil)}
			for i := from; i < from+10; i++ {
				ts = appendPoint(ts, dataStart+int64(i)*dataStep, s.at(i))
			}
			req.Timeseries = append(req.Timeseries, ts)
		}
		raw, err := req.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(http.MethodPost, base+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, raw)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Content-Encoding", "snappy")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var why bytes.Buffer
		why.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			t.Fatalf("remote_write: %s: %s", resp.Status, why.String())
		}
	}
}

func appendPoint(ts prompb.TimeSeries, at int64, p point) prompb.TimeSeries {
	switch {
	case p.none:
	case p.h != nil:
		ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(at, p.h))
	case p.fh != nil:
		ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(at, p.fh))
	default:
		ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: at, Value: p.v})
	}
	if p.x != nil {
		ts.Exemplars = append(ts.Exemplars, prompb.Exemplar{Labels: prompb.FromLabels(p.x.Labels, nil), Value: p.x.Value, Timestamp: p.x.Ts})
	}
	return ts
}

func seconds(ms int64) string { return fmt.Sprintf("%d.%03d", ms/1000, ms%1000) }
