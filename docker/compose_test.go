package docker

import (
	"bytes"
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Entrypoint  []string
	Command     []string
	Ports       []string
	Volumes     []string
	Environment map[string]string
	DependsOn   any `yaml:"depends_on"`
}

// mounts are a service's volumes: path in the container → file here, or name of a volume.
func (s service) mounts() map[string]string {
	m := map[string]string{}
	for _, v := range s.Volumes {
		parts := strings.Split(v, ":")
		m[parts[1]] = parts[0]
	}
	return m
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		d := yaml.NewDecoder(bytes.NewReader(b))
		err = d.Decode(into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	readYAML(t, "compose.yaml", &c)
	for _, name := range []string{"minitrue", "mosquitto", "sensors", "prometheus", "grafana"} {
		if _, ok := c.Services[name]; !ok {
			t.Fatalf("no service %s", name)
		}
	}
	return c
}

func TestComposePaths(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		for inside, outside := range s.mounts() {
			if !path.IsAbs(inside) {
				t.Errorf("%s: %s is not an absolute path", name, inside)
			}
			if strings.HasPrefix(outside, ".") {
				if _, err := os.Stat(outside); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := c.Volumes[outside]; !ok {
				t.Errorf("%s: there is no volume %s", name, outside)
			}
		}
		if s.Image == "" && s.Build.Context == "" {
			t.Errorf("%s: no image", name)
		}
		if s.Build.Context != "" {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to everybody", name, p)
			}
		}
		deps := map[string]any{}
		switch d := s.DependsOn.(type) {
		case []any:
			for _, x := range d {
				deps[x.(string)] = nil
			}
		case map[string]any:
			deps = d
		}
		for dep := range deps {
			if _, ok := c.Services[dep]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, dep)
			}
		}
	}
}

func TestComposeFlags(t *testing.T) {
	c := readCompose(t)
	bins := binaries(t)
	node := c.Services["minitrue"]
	argv := append([]string{"minitrue"}, node.Command...)
	checkFlags(t, bins, argv)
	if _, ok := node.mounts()[value(argv, "data-dir")]; !ok {
		t.Errorf("the data folder %q is not on a volume", value(argv, "data-dir"))
	}
	if want := "127.0.0.1:8080:" + value(argv, "port"); !slices.Contains(node.Ports, want) {
		t.Errorf("ports %q, want %s", node.Ports, want)
	}
	sensors := c.Services["sensors"]
	simulate := append(slices.Clone(sensors.Entrypoint), sensors.Command...)
	checkFlags(t, bins, simulate)
	if sensors.Image != node.Image {
		t.Errorf("the sensors run %s, which is not the image that is built", sensors.Image)
	}
	for who, broker := range map[string]string{"minitrue": value(argv, "broker"), "sensors": value(simulate, "broker")} {
		checkURL(t, c, who, broker, "1883")
	}
}

// checkURL wants the URL of a service, and a port that it listens on.
func checkURL(t *testing.T, c compose, who, raw, port string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Errorf("%s: %v", who, err)
		return
	}
	if _, ok := c.Services[u.Hostname()]; !ok || u.Port() != port {
		t.Errorf("%s asks %s: want a service of compose.yaml and port %s", who, raw, port)
	}
}

func TestPrometheus(t *testing.T) {
	c := readCompose(t)
	var p struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
		RemoteWrite []struct{ URL string } `yaml:"remote_write"`
		RemoteRead  []struct{ URL string } `yaml:"remote_read"`
	}
	readYAML(t, "prometheus.yml", &p)
	if len(p.RemoteWrite) != 1 || p.RemoteWrite[0].URL != "http://minitrue:8080/api/v1/write" {
		t.Errorf("remote_write %+v", p.RemoteWrite)
	}
	if len(p.RemoteRead) != 1 || p.RemoteRead[0].URL != "http://minitrue:8080/api/v1/read" {
		t.Errorf("remote_read %+v", p.RemoteRead)
	}
	for _, s := range p.ScrapeConfigs {
		for _, target := range s.StaticConfigs[0].Targets {
			switch host, port, _ := net.SplitHostPort(target); host {
			case "localhost":
			default:
				checkURL(t, c, "prometheus", "http://"+target, port)
			}
		}
	}
	s := c.Services["prometheus"]
	if s.mounts()[value(s.Command, "config.file")] != "./prometheus.yml" {
		t.Errorf("its configuration is not mounted: %q", s.Volumes)
	}
	if s.mounts()[value(s.Command, "storage.tsdb.path")] != "prometheus" {
		t.Errorf("its data is not on a volume: %q", s.Volumes)
	}
	promtool := program(t, "promtool", "MINITRUE_PROMTOOL")
	if out, err := exec.Command(promtool, "check", "config", "prometheus.yml").CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

func TestGrafana(t *testing.T) {
	c := readCompose(t)
	s := c.Services["grafana"]
	m := s.mounts()
	if m["/etc/grafana/provisioning"] != "../grafana/provisioning" {
		t.Errorf("its provisioning is not mounted: %q", s.Volumes)
	}
	var ps struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "../grafana/provisioning/dashboards/minitrue.yaml", &ps)
	for _, p := range ps.Providers {
		if m[p.Options.Path] != "../grafana/dashboards" {
			t.Errorf("dashboards are looked for in %s, mounted are %q", p.Options.Path, s.Volumes)
		}
	}
	home := s.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	b, err := os.ReadFile(filepath.Join(m[path.Dir(home)], path.Base(home)))
	if err != nil || !json.Valid(b) {
		t.Errorf("the home dashboard %s: %v", home, err)
	}
	var ds struct{ Datasources []struct{ URL string } }
	readYAML(t, "../grafana/provisioning/datasources/minitrue.yaml", &ds)
	for _, d := range ds.Datasources {
		checkURL(t, c, "grafana", d.URL, value(c.Services["minitrue"].Command, "port"))
	}
}

// program finds one that the test needs, by an environment variable or in the path. Without it the
// test is skipped, except in CI.
func program(t *testing.T, name, env string) string {
	t.Helper()
	if p := os.Getenv(env); p != "" {
		return p
	}
	p, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed, and CI has everything: set %s", name, env)
		}
		t.Skipf("%s is not installed: its own check of the configuration is left out", name)
	}
	return p
}

// Mosquitto takes the configuration, moved to a free port and folder, and listens.
func TestMosquitto(t *testing.T) {
	c := readCompose(t)
	s := c.Services["mosquitto"]
	if s.mounts()["/mosquitto/config/mosquitto.conf"] != "./mosquitto.conf" || s.mounts()["/mosquitto/data"] != "mosquitto" {
		t.Errorf("volumes %q", s.Volumes)
	}
	b, err := os.ReadFile("mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "\nlistener 1883\n") || !strings.Contains(string(b), "\npersistence_location /mosquitto/data/\n") {
		t.Fatalf("the port or the folder is not the one of compose.yaml:\n%s", b)
	}
	bin := program(t, "mosquitto", "MINITRUE_MOSQUITTO")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // it may drop its rights
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "listener 1883", "listener "+port+" 127.0.0.1")
	text = strings.ReplaceAll(text, "/mosquitto/data/", dir+"/")
	conf := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill()
		<-ended
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("mosquitto refuses the configuration: %v\n%s", err, &log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}
