package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/promql/admin"
)

func open(t *testing.T) (*store.Store, string) {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var b series.Batch
	for i := range 4 {
		b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))), First: len(b.Samples), Count: 10})
		for j := range int64(10) {
			b.Samples = append(b.Samples, series.Sample{T: 1_700_000_000_000 + j*1000, V: float64(j)})
		}
	}
	if err := s.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

func serve(t *testing.T, s admin.Store) string {
	t.Helper()
	mux := http.NewServeMux()
	admin.NewHandler(s, admin.Options{}).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func ask(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func count(t *testing.T, s *store.Store) uint64 {
	t.Helper()
	st, err := s.Aggregate(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil {
		t.Fatal(err)
	}
	return st.Count()
}

func TestAdministration(t *testing.T) {
	s, base := open(t)
	api := base + "/api/v1/admin/tsdb/"
	for _, step := range []struct {
		method, path string
		code         int
		left         uint64
	}{
		{"POST", "flush", 204, 40},
		{"POST", `delete_series?match[]=m{i="1"}`, 204, 30},
		{"PUT", `delete_series?match[]=m{i="2"}&match[]=m{i="3"}&start=1700000005&end=1700000005.5`, 204, 28},
		{"POST", `delete_series?match[]=m{i="2"}&start=2023-11-14T22:13:27Z`, 204, 25},
		{"POST", "delete_series?match[]=nothing", 204, 25},
		{"POST", "delete_series", 400, 25},
		{"POST", "delete_series?match[]=m{", 400, 25},
		{"POST", `delete_series?match[]={i=~".*"}`, 400, 25},
		{"POST", "delete_series?match[]=m&start=yesterday", 400, 25},
		{"GET", "delete_series?match[]=m", 405, 25},
		{"POST", "clean_tombstones", 204, 25},
		{"POST", "compact", 204, 25},
	} {
		code, body := ask(t, step.method, api+step.path)
		if code != step.code || code == 204 && body != "" {
			t.Errorf("%s %s: %d %s, want %d", step.method, step.path, code, body, step.code)
		}
		if n := count(t, s); n != step.left {
			t.Errorf("%s %s: %d samples are left, want %d", step.method, step.path, n, step.left)
		}
	}
	if code, body := ask(t, "POST", api+"delete_series?match[]=m", "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden || count(t, s) != 25 {
		t.Errorf("a page of another site deleted: %d %s", code, body)
	}
}

func TestSnapshotOpensAsADataFolder(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := series.Batch{Series: []series.Entry{{Key: series.AppendKey(nil, labels.FromStrings("__name__", "m")), Count: 1}}, Samples: []series.Sample{{T: 1, V: 2}}}
	if err := s.Append(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	code, body := ask(t, "POST", serve(t, s)+"/api/v1/admin/tsdb/snapshot")
	var answer struct {
		Status string
		Data   struct{ Name string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 || answer.Status != "success" || !regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{16}$`).MatchString(answer.Data.Name) {
		t.Fatalf("%d %s, %v", code, body, err)
	}
	path := filepath.Join(dir, store.SnapshotsDir, answer.Data.Name)
	if _, err := os.Stat(filepath.Join(path, "blocks")); err != nil {
		t.Fatal(err)
	}
	again, err := store.Open(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n := count(t, again); n != 1 {
		t.Errorf("the snapshot has %d samples, want 1", n)
	}
}

// failing is a store of which nothing works.
type failing struct{ err error }

func (f failing) Delete(context.Context, int64, int64, ...*labels.Matcher) (int, error) {
	return 0, f.err
}
func (f failing) Snapshot(context.Context, string) (string, error) { return "", f.err }
func (f failing) Flush(context.Context) error                      { return f.err }
func (f failing) CompactAll(context.Context) error                 { return f.err }

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
	}{
		{errors.New("disk"), 500}, {series.ErrUnavailable, 503}, {context.Canceled, 503},
	} {
		base := serve(t, failing{fmt.Errorf("wrapped: %w", row.err)})
		for _, path := range []string{"delete_series?match[]=m", "snapshot", "flush", "compact", "clean_tombstones"} {
			if code, body := ask(t, "POST", base+"/api/v1/admin/tsdb/"+path); code != row.code || !strings.Contains(body, row.err.Error()) {
				t.Errorf("%s with %v: %d %s, want %d", path, row.err, code, body, row.code)
			}
		}
	}
}

// A real Prometheus answers the same requests with the same status and, where there is an error, of the same kind. But
// it deletes everything when it is given {}, which is refused here.
func TestAnswersAsPrometheus(t *testing.T) {
	exe := os.Getenv("MINITRUE_PROMETHEUS")
	if exe == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("MINITRUE_PROMETHEUS must name a prometheus binary in CI")
		}
		t.Skip("MINITRUE_PROMETHEUS does not name a prometheus binary")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := httptest.NewServer(http.NotFoundHandler())
	addr := strings.TrimPrefix(l.URL, "http://")
	l.Close()
	cmd := exec.Command(exe, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--web.enable-admin-api")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("prometheus is not ready: %v", err)
		}
	}
	_, ours := open(t)
	for _, r := range []string{
		"POST delete_series", "PUT delete_series", "POST delete_series?match[]=m", "PUT delete_series?match[]=m&match[]=n", "POST delete_series?match[]=",
		"POST delete_series?match[]=m{", "POST delete_series?match[]=m&start=1&end=2",
		"POST delete_series?match[]=m&start=2&end=1", "POST delete_series?match[]=m&start=x", "POST delete_series?match[]=m&end=x",
		"POST delete_series?match[]=m&start=2024-01-01T00:00:00Z",
		"POST delete_series?match[]=m&start=-9223309901257974&end=9223309901257974", // client_golang's MinTime and MaxTime, in both forms
		"POST delete_series?match[]=m&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z",
		"POST clean_tombstones", "PUT clean_tombstones",
		"POST snapshot", "PUT snapshot", "POST snapshot?skip_head=true",
	} {
		method, path, _ := strings.Cut(r, " ")
		wantCode, want := ask(t, method, "http://"+addr+"/api/v1/admin/tsdb/"+path)
		code, got := ask(t, method, ours+"/api/v1/admin/tsdb/"+path)
		if code != wantCode || kind(got) != kind(want) {
			t.Errorf("%s: %d %s, Prometheus answers %d %s", r, code, got, wantCode, want)
		}
	}
}

// kind is an answer without what is free in it.
func kind(body string) string {
	var a struct {
		Status    string
		ErrorType string
		Data      map[string]string
	}
	if json.Unmarshal([]byte(body), &a) != nil {
		return body
	}
	return fmt.Sprint(a.Status, a.ErrorType, len(a.Data), len(a.Data["name"]))
}
