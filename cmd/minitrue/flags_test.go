package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/minitrue/minitrue/chunk/store"
)

// settled reads a command line as the command does.
func settled(args ...string) (*flags, error) {
	f, s := defaults(), pflag.NewFlagSet("minitrue", pflag.ContinueOnError)
	s.SetNormalizeFunc(command().GlobalNormalizationFunc())
	f.register(s)
	if err := s.Parse(args); err != nil {
		return nil, err
	}
	return f, f.settle(s)
}

func TestSettlePorts(t *testing.T) {
	rows := []struct {
		args      string
		port, tcp int
		mqtt      string
	}{
		{"", 8080, 9000, "127.0.0.1:1883"},
		{"--node_id=ing1", 8080, 9000, "127.0.0.1:1883"},
		{"--node_id=ing2", 8081, 9001, "127.0.0.1:1884"},
		{"--node-id=ing2", 8081, 9001, "127.0.0.1:1884"},
		{"--node-id=rack7-ing12", 8091, 9011, "127.0.0.1:1894"},
		{"--node-id=ing0", 8080, 9000, "127.0.0.1:1883"},
		{"--node-id=ing", 8080, 9000, "127.0.0.1:1883"},
		{"--node-id=host20240101", 8080, 9000, "127.0.0.1:1883"}, // not a number to count ports with
		{"--node-id=ing99999999999999999999", 8080, 9000, "127.0.0.1:1883"},
		{"--node-id=ing2 --port=8080", 8080, 9000, "127.0.0.1:1883"},
		{"--node-id=ing2 --tcp_port=7000", 8080, 7000, "127.0.0.1:1883"},
		{"--node-id=ing2 --mqtt-listen=none", 8081, 9001, "none"},
		{"--node-id=ing2 --listen=::1", 8081, 9001, "[::1]:1884"},
		{"--listen=0.0.0.0 --port=0", 0, 9000, "0.0.0.0:1883"},
	}
	for _, row := range rows {
		f, err := settled(strings.Fields(row.args)...)
		if err != nil {
			t.Errorf("%q: %v", row.args, err)
			continue
		}
		if f.Port != row.port || f.TCPPort != row.tcp || f.MQTTListen != row.mqtt {
			t.Errorf("%q: ports %d %d %s, want %d %d %s", row.args, f.Port, f.TCPPort, f.MQTTListen, row.port, row.tcp, row.mqtt)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := settled(); err != nil || f.NodeID != host {
		t.Errorf("without a name the node is %q (%v), want %q", f.NodeID, err, host)
	}
}

// A node that listens on all addresses tells the others one at which it can be found.
func TestSettleAdvertise(t *testing.T) {
	rows := []struct{ args, want string }{ // want "": one of this machine's addresses
		{"--node-id=ing1", "127.0.0.1"},
		{"--node-id=ing1 --listen=127.0.0.7", "127.0.0.7"},
		{"--node-id=ing1 --listen=0.0.0.0 --advertise=10.1.2.3", "10.1.2.3"},
		{"--node-id=ing1 --listen=rack7.example --cluster-key-file=KEY", "rack7.example"},
		{"--node-id=ing1 --listen=0.0.0.0", ""},
		{"--node-id=ing1 --listen=::", ""},
		{"--listen=0.0.0.0", "0.0.0.0"}, // it has nobody to tell
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		f, err := settled(strings.Fields(strings.ReplaceAll(row.args, "KEY", key))...)
		if err != nil {
			if row.want != "" || !strings.Contains(err.Error(), "--advertise: find this node's own: no network interface has an address") {
				t.Errorf("%q: %v", row.args, err)
			}
			continue
		}
		ip := net.ParseIP(f.Advertise)
		if row.want != "" && f.Advertise != row.want || row.want == "" && (ip == nil || ip.IsUnspecified() || ip.IsLoopback()) {
			t.Errorf("%q: the others are told %q, want %q", row.args, f.Advertise, row.want)
		}
	}
}

func TestSettleValues(t *testing.T) {
	f, err := settled("--retention=90d", "--retention_size=50GB", "--memtable_size", "1.5MiB", "--wal_sync=interval", "--log_level=warn", "--mode=query")
	if err != nil {
		t.Fatal(err)
	}
	if f.retention != 90*24*time.Hour || f.retentionSize != 50<<30 || f.memtableSize != 3<<19 || f.walInterval == 0 || f.level != slog.LevelWarn {
		t.Errorf("%+v", f)
	}
	if f.ingests() || !f.queries() {
		t.Error("--mode=query ingests or does not answer")
	}
	if got := f.given["retention-size"]; got != "50GB" {
		t.Errorf("status/flags shows retention-size %q", got)
	}
	f, err = settled("--retention=30d", "--retention-5m=1y", "--retention-1h=0")
	if want := []store.Resolution{{Step: 5 * time.Minute, Retention: 365 * 24 * time.Hour}, {Step: time.Hour}}; err != nil || !slices.Equal(f.downsample, want) {
		t.Errorf("resolutions %+v, %v; want %+v", f.downsample, err, want)
	}
	if f, err = settled("--retention=0", "--retention-size=0", "--mode=ingestion"); err != nil || f.retention != 0 || f.retentionSize != 0 || !f.ingests() || f.queries() {
		t.Errorf("%+v, %v", f, err)
	}
}

// Whatever is wrong, the error names the flag.
func TestSettleRefuses(t *testing.T) {
	rows := []struct{ arg, want string }{
		{"--mode=both", `--mode: "both" is not one of ingestion, query, all`},
		{"--mode=", "--mode: "},
		{"--retention=1y --retention-5m=30d", "--retention-5m: 30d is not longer than what is finer is kept"},
		{"--retention-1h=1y", "--retention-1h: 1y is not longer than what is finer is kept"},
		{"--log-format=xml", "--log-format: "},
		{"--log_level=loud", "--log-level: "},
		{"--wal-sync=never", "--wal-sync: "},
		{"--retention=soon", "--retention: "},
		{"--retention=", "--retention: "},
		{"--retention=-1d", "--retention: "},
		{"--retention-size=many", "--retention-size: "},
		{"--retention-size=", "--retention-size: "},
		{"--retention-size=-5GB", "--retention-size: "},
		{"--retention-size=99999999TB", "--retention-size: "},
		{"--memtable-size=1KB", "--memtable-size: 1KB is less than 1MB"},
		{"--memtable-size=0", "--memtable-size: "},
		{"--memtable-size=-1GB", "--memtable-size: "},
		{"--max-series=-1", "--max-series: -1 is less than 0"},
		{"--config=" + os.DevNull + "/none", "--config: "},
		{"--demo --broker=tcp://h:1883", "--demo: "},
		{"--demo --mqtt-listen=none", "--demo: "},
		{"--demo --mode=query", "--demo: "},
		{"--port=70000", "--port: "},
		{"--port=-1", "--port: "},
		{"--broker=h:1883", "--broker: "},
		{"--mqtt-listen=1883", "--mqtt-listen: "},
		{"--device-label=", "--device-label: "},
		{"--query-timeout=-1s", "--query-timeout: "},
		{"--query-lookback=0s", "--query-lookback: "},
		{"--query-concurrency=-1", "--query-concurrency: "},
		{"--query-max-samples=0", "--query-max-samples: "},
		{"--tcp-port=70000", "--tcp-port: "},
		{"--web.config.file=" + os.DevNull + "/none", "--web.config.file: "},
		{"--broker=http://h", "--broker: "},
		{"--broker=tcp://h:1883 --mode=query", "--broker: "},
		{"--max-future=-1s", "--max-future: "},
	}
	for _, row := range rows {
		if _, err := settled(strings.Fields(row.arg)...); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v, want one with %q", row.arg, err, row.want)
		}
	}
}
