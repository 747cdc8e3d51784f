package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/spf13/pflag"

	"github.com/minitrue/minitrue/chunk/store"
)

// flags are the command line as it was given; settle fills in what follows from it.
type flags struct {
	Mode, NodeID, Listen, MQTTListen, Broker, DataDir string
	Port, TCPPort                                     int
	WALSync, Retention, RetentionSize, MemtableSize   string
	Retention5m, Retention1h                          string
	Config, WebConfig, LogLevel, LogFormat            string
	MaxFuture, QueryTimeout, Lookback                 time.Duration
	QueryConcurrency, QueryMaxSamples                 int
	MaxSeries                                         int
	DeviceLabel                                       string
	Demo                                              bool
	clusterFlags
	replicateFlags

	level         slog.Level
	walInterval   time.Duration
	retention     time.Duration
	downsample    []store.Resolution
	retentionSize int64
	memtableSize  int64
	config        config
	given         map[string]string // flag → value as it is now, for status/flags
}

func defaults() *flags { return &flags{} }

func (f *flags) register(s *pflag.FlagSet) {
	s.StringVar(&f.Mode, "mode", "all", "what this node does: ingestion, query or all")
	s.StringVar(&f.NodeID, "node-id", "", "name of this node; one that ends in a number N moves the default ports by N-1 (default: the host's name)")
	s.StringVar(&f.Listen, "listen", "127.0.0.1", "address on which every port listens")
	s.IntVar(&f.Port, "port", 8080, "port of HTTP")
	s.IntVar(&f.TCPPort, "tcp-port", 9000, "port of gossip between nodes; a node that has neither name nor seeds leaves it closed")
	s.StringVar(&f.MQTTListen, "mqtt-listen", "", "address of the MQTT broker in this node, host:port, or none (default: port 1883 on the address of --listen)")
	s.StringVar(&f.Broker, "broker", "", "read sensors from this MQTT broker, tcp://host:1883, instead of running one")
	s.StringVar(&f.DataDir, "data-dir", "./data", "folder of all data")
	s.StringVar(&f.WALSync, "wal-sync", "commit", "when the log is synced: commit (before anything is acknowledged) or interval (every 200 ms; a power cut may lose that much)")
	s.StringVar(&f.Retention, "retention", "0", "how long samples are kept, such as 90d or 2y; 0 means for ever")
	s.StringVar(&f.Retention5m, "retention-5m", "", "how long statistics of 5 minutes are kept, such as 1y; 0 means for ever, empty that none are made")
	s.StringVar(&f.Retention1h, "retention-1h", "", "how long statistics of an hour are kept, such as 10y; 0 means for ever, empty that none are made")
	s.StringVar(&f.RetentionSize, "retention-size", "0", "how much room blocks may take, such as 50GB; 0 means all there is")
	s.StringVar(&f.MemtableSize, "memtable-size", "80MB", "how much memory recent samples take before they are written to a block")
	s.IntVar(&f.MaxSeries, "max-series", 0, "how many series may be active before new ones are refused; 0 means any number")
	s.StringVar(&f.Config, "config", "", "YAML file with limits and MQTT users")
	s.StringVar(&f.WebConfig, "web.config.file", "", "TLS and users of HTTP, in the format of Prometheus's exporters")
	s.DurationVar(&f.MaxFuture, "max-future", time.Hour, "how far ahead of the clock a sample may be")
	s.DurationVar(&f.QueryTimeout, "query-timeout", 2*time.Minute, "how long a query may take")
	s.IntVar(&f.QueryConcurrency, "query-concurrency", 20, "how many queries run at a time")
	s.IntVar(&f.QueryMaxSamples, "query-max-samples", 50_000_000, "how many samples a query may hold in memory")
	s.DurationVar(&f.Lookback, "query-lookback", 5*time.Minute, "how long a sample is current in PromQL")
	s.StringVar(&f.DeviceLabel, "device-label", "device_id", "label that names the device of a series")
	s.BoolVar(&f.Demo, "demo", false, "also run some simulated sensors, which publish through the broker")
	f.clusterFlags.register(s)
	f.replicateFlags.register(s)
	s.StringVar(&f.LogLevel, "log-level", "info", "debug, info, warn or error")
	s.StringVar(&f.LogFormat, "log-format", "text", "text or json")
}

var trailingNumber = regexp.MustCompile(`[0-9]+$`)

// settle checks the flags and works out what follows from them. An error names the flag.
func (f *flags) settle(s *pflag.FlagSet) (err error) {
	f.settlePorts(s)
	steps := []struct {
		flag  string
		check func() error
	}{
		{"mode", func() error { return oneOf(f.Mode, "ingestion", "query", "all") }},
		{"log-format", func() error { return oneOf(f.LogFormat, "text", "json") }},
		{"log-level", func() error { return f.level.UnmarshalText([]byte(f.LogLevel)) }},
		{"wal-sync", f.settleSync},
		{"retention", func() error { f.retention, err = age(f.Retention); return err }},
		{"retention-5m", func() error { return f.addResolution(5*time.Minute, f.Retention5m) }},
		{"retention-1h", func() error { return f.addResolution(time.Hour, f.Retention1h) }},
		{"retention-size", func() error { f.retentionSize, err = size(f.RetentionSize); return err }},
		{"memtable-size", f.settleMemtable},
		{"max-series", func() error { return check(f.MaxSeries >= 0, "%d is less than 0", f.MaxSeries) }},
		{"port", func() error { return port(f.Port) }},
		{"tcp-port", func() error { return port(f.TCPPort) }},
		{"broker", f.checkBroker},
		{"mqtt-listen", f.checkMQTTListen},
		{"device-label", func() error {
			return check(f.DeviceLabel != "" && f.DeviceLabel != model.MetricNameLabel, "%q cannot name a device", f.DeviceLabel)
		}},
		{"max-future", func() error { return check(f.MaxFuture >= 0, "%v is negative", f.MaxFuture) }},
		{"query-timeout", func() error { return check(f.QueryTimeout > 0, "%v is not a time to wait", f.QueryTimeout) }},
		{"query-lookback", func() error { return check(f.Lookback > 0, "%v is not a time to look back", f.Lookback) }},
		{"query-concurrency", func() error { return check(f.QueryConcurrency > 0, "%d is not more than 0", f.QueryConcurrency) }},
		{"query-max-samples", func() error { return check(f.QueryMaxSamples > 0, "%d is not more than 0", f.QueryMaxSamples) }},
		{"web.config.file", func() error { return web.Validate(f.WebConfig) }},
		{"demo", f.checkDemo},
		{"config", func() error { f.config, err = readConfig(f.Config); return err }},
	}
	for _, step := range steps {
		if err := step.check(); err != nil {
			return fmt.Errorf("--%s: %w", step.flag, err)
		}
	}
	if err := f.settleCluster(s); err != nil {
		return err
	}
	if err := f.settleReplicate(); err != nil {
		return err
	}
	f.given = map[string]string{}
	s.VisitAll(func(x *pflag.Flag) { f.given[x.Name] = x.Value.String() })
	return nil
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func oneOf(s string, allowed ...string) error {
	return check(slices.Contains(allowed, s), "%q is not one of %s", s, strings.Join(allowed, ", "))
}

func port(n int) error {
	return check(0 <= n && n <= 65535, "%d is not a port, which is 0 to 65535", n)
}

func (f *flags) settleSync() error {
	if f.WALSync == "interval" {
		f.walInterval = 200 * time.Millisecond
	}
	return oneOf(f.WALSync, "commit", "interval")
}

// age reads how long something is kept; 0 is for ever.
func age(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	d, err := model.ParseDuration(s)
	return time.Duration(d), err
}

// addResolution adds a resolution to downsample to. It is of use only when it is kept longer than what is finer.
func (f *flags) addResolution(step time.Duration, retention string) error {
	if retention == "" {
		return nil
	}
	d, err := age(retention)
	if err != nil {
		return err
	}
	finer := f.retention
	if n := len(f.downsample); n > 0 {
		finer = f.downsample[n-1].Retention
	}
	f.downsample = append(f.downsample, store.Resolution{Step: step, Retention: d})
	return check(finer > 0 && (d == 0 || d > finer), "%s is not longer than what is finer is kept", retention)
}

func (f *flags) settleMemtable() (err error) {
	if f.memtableSize, err = size(f.MemtableSize); err != nil {
		return err
	}
	return check(f.memtableSize >= 1<<20, "%s is less than 1MB", f.MemtableSize)
}

func (f *flags) checkBroker() error {
	if f.Broker == "" {
		return nil
	}
	u, err := url.Parse(f.Broker)
	if err != nil || u.Host == "" || oneOf(u.Scheme, "tcp", "mqtt", "ssl", "tls", "mqtts") != nil {
		return fmt.Errorf("%q is not the URL of a broker, such as tcp://host:1883 or ssl://host:8883", f.Broker)
	}
	return check(f.ingests(), "a node with --mode=query only answers queries, and reads no sensors")
}

func (f *flags) checkMQTTListen() error {
	if f.MQTTListen == "none" {
		return nil
	}
	_, _, err := net.SplitHostPort(f.MQTTListen)
	return check(err == nil, "%q is neither host:port nor none", f.MQTTListen)
}

func (f *flags) checkDemo() error {
	return check(!f.Demo || f.ingests() && f.Broker == "" && f.MQTTListen != "none",
		"simulated sensors publish through this node's own broker: leave out --broker, --mqtt-listen=none and --mode=query")
}

// settlePorts moves the default ports by the number that the node's name ends in, so that
// ing1, ing2 and ing3 run beside each other on one machine.
func (f *flags) settlePorts(s *pflag.FlagSet) {
	shift := 0
	if n, err := strconv.Atoi(trailingNumber.FindString(f.NodeID)); err == nil && n > 0 && n < 1000 &&
		!s.Changed("port") && !s.Changed("tcp-port") {
		shift = n - 1
		f.Port, f.TCPPort = f.Port+shift, f.TCPPort+shift
	}
	if f.MQTTListen == "" {
		f.MQTTListen = net.JoinHostPort(f.Listen, strconv.Itoa(1883+shift))
	}
	if f.NodeID == "" {
		f.NodeID, _ = os.Hostname()
	}
}

func size(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	n, err := units.ParseBase2Bytes(s)
	if err == nil && n < 0 {
		err = fmt.Errorf("%s is negative, or too much", s)
	}
	return int64(n), err
}

func (f *flags) httpAddr() string { return net.JoinHostPort(f.Listen, strconv.Itoa(f.Port)) }
func (f *flags) ingests() bool    { return f.Mode != "query" }
func (f *flags) queries() bool    { return f.Mode != "ingestion" }
