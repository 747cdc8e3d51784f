package grafana

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds how long the test waits for a demo node and its first readings.
const patience = 2 * time.Minute

// node returns the URL of a demo node: that of MINITRUE_URL, or one that is built and started here.
func node(t *testing.T) string {
	t.Helper()
	if u := os.Getenv("MINITRUE_URL"); u != "" {
		return strings.TrimRight(u, "/")
	}
	bin := filepath.Join(t.TempDir(), "minitrue")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/minitrue").CombinedOutput(); err != nil {
		t.Fatalf("build the node: %v\n%s", err, out)
	}
	ports := freePorts(t, 3)
	cmd := exec.Command(bin, "--demo", "--listen", "127.0.0.1", "--port", ports[0], "--tcp-port", ports[1],
		"--mqtt-listen", "127.0.0.1:"+ports[2], "--data-dir", t.TempDir())
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the node ended with %v:\n%s", err, &log)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("the node did not end on SIGTERM:\n%s", &log)
		}
	})
	base := "http://127.0.0.1:" + ports[0]
	poll(t, "the node to be ready", func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the node ended with %v:\n%s", err, &log)
		default:
		}
		resp, err := http.Get(base + "/-/ready")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	})
	return base
}

func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // after all are known, so that they differ
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// poll asks until there is no error.
func poll(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var labelValuesCall = regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)

// labelValues takes a variable's query apart.
func labelValues(definition string) (selector, label string, err error) {
	m := labelValuesCall.FindStringSubmatch(definition)
	if m == nil {
		return "", "", fmt.Errorf("%q is not label_values(selector, label)", definition)
	}
	return m[1], m[2], nil
}

// call asks the Prometheus API as Grafana does, and returns the answer's data.
func call(base, path string, form url.Values, into any) error {
	ask := func() (*http.Response, error) { return http.PostForm(base+path, form) }
	if strings.HasSuffix(path, "/values") { // which has no POST
		ask = func() (*http.Response, error) { return http.Get(base + path + "?" + form.Encode()) }
	}
	resp, err := ask()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var a struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return fmt.Errorf("%s: %w", resp.Status, err)
	}
	if resp.StatusCode != http.StatusOK || a.Status != "success" {
		return fmt.Errorf("%s: %s", resp.Status, a.Error)
	}
	return json.Unmarshal(a.Data, into)
}

// Every variable has values and every expression has data on a demo node.
func TestDashboardsShowTheDemo(t *testing.T) {
	base := node(t)
	for path, d := range dashboards(t) {
		values := map[string][]string{}
		for _, v := range d.Templating.List {
			least := map[string]int{"device": 3, "metric": 3}[v.Name]
			poll(t, fmt.Sprintf("%d values of variable %s", least, v.Name), func() error {
				filled := v.Definition
				for name, vs := range values {
					filled = fill(filled, map[string]string{name: "(" + strings.Join(vs, "|") + ")"})
				}
				selector, label, err := labelValues(filled)
				if err != nil {
					return err
				}
				var got []string
				if err := call(base, "/api/v1/label/"+label+"/values", url.Values{"match[]": {selector}}, &got); err != nil {
					return err
				}
				if len(got) < least || len(got) == 0 {
					return fmt.Errorf("%q", got)
				}
				values[v.Name] = got
				return nil
			})
		}
		for _, q := range d.queries(values) {
			poll(t, path+": data of "+q.name+": "+q.expr, func() error { return q.hasData(base) })
		}
	}
}

// hasData asks for the last quarter of an hour, or for now.
func (q query) hasData(base string) error {
	now := time.Now()
	form := url.Values{"query": {q.expr}, "time": {fmt.Sprint(now.Unix())}}
	path := "/api/v1/query"
	if !q.instant {
		path = "/api/v1/query_range"
		form = url.Values{"query": {q.expr}, "step": {"5"},
			"start": {fmt.Sprint(now.Add(-15 * time.Minute).Unix())}, "end": {fmt.Sprint(now.Unix())}}
	}
	var data struct {
		Result []struct {
			Value  []any
			Values [][]any
		}
	}
	if err := call(base, path, form, &data); err != nil {
		return err
	}
	for _, s := range data.Result {
		if len(s.Value)+len(s.Values) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no data")
}
