package promdata

import (
	"os/exec"
	"strings"
	"testing"
)

// Prometheus's storage is in minitruectl to read what it wrote, and in no part of a node.
func TestNoNodeHasPrometheusStorage(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "github.com/minitrue/minitrue/cmd/minitrue").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if dep = strings.TrimSpace(dep); dep == "github.com/prometheus/prometheus/tsdb" || strings.HasSuffix(dep, "cmd/internal/promdata") {
			t.Errorf("a node imports %s", dep)
		}
	}
}
