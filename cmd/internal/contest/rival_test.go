package contest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// A merge has ended when it returns, and a server that cannot be asked to is told apart from one that fails.
func TestMerge(t *testing.T) {
	var asked []string
	busy := 3 // askings for which a merge goes on
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if r.URL.Path == "/metrics" {
			if busy--; busy > 0 {
				_, _ = w.Write([]byte("vm_active_force_merges 1\n"))
			}
			return
		}
		w.WriteHeader(status)
	}))
	defer server.Close()
	for _, row := range []struct {
		name   string
		status int
		want   []string
		is     error
		says   string
	}{
		{MiniTrue, 204, []string{"POST /api/v1/admin/tsdb/flush", "POST /api/v1/admin/tsdb/compact"}, nil, ""},
		{VictoriaMetrics, 200, []string{"GET /internal/force_flush", "GET /internal/force_merge", "GET /metrics", "GET /metrics", "GET /metrics"}, nil, ""},
		{MiniTrue, 404, []string{"POST /api/v1/admin/tsdb/flush"}, errNoMerge, "no such endpoint"},
		{MiniTrue, 503, []string{"POST /api/v1/admin/tsdb/flush"}, nil, "503"},
	} {
		asked, status = nil, row.status
		i := slices.IndexFunc(Rivals(), func(r Rival) bool { return r.Name == row.name })
		err := Rivals()[i].merge(t.Context(), server.URL)
		if !slices.Equal(asked, row.want) || (err != nil) != (row.says != "") || row.is != nil && !errors.Is(err, row.is) ||
			err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s with status %d: asked %q, error %v", row.name, row.status, asked, err)
		}
	}
}

// One server's arguments name its own folder and listen on loopback only.
func TestArguments(t *testing.T) {
	for _, r := range Rivals() {
		dir := t.TempDir() + "/data"
		args, err := r.args(dir, []int{12345, 12346})
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(args, " ")
		if !strings.Contains(text, dir) || !strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "12345") || strings.Contains(text, "0.0.0.0") {
			t.Errorf("%s: %q", r.Name, args)
		}
	}
}
