package series_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/minitrue/minitrue/"

// floors says on which floor a package lies.
var floors = map[string]int{
	"chunk/series": 0,
	"chunk":        1, "chunk/duty": 1, "chunk/hot": 1, "shard": 1, "shard/merkle": 1, "promql/cost": 1,
	"chunk/disk": 2, "chunk/wal": 2, "chunk/head": 2, "chunk/block": 2, "chunk/compact": 2, "chunk/store": 2, "shard/peer": 2, "shard/hint": 2,
	"ingest": 3, "ingest/mqtt": 3, "remote": 3, "promql": 3, "promql/admin": 3, "promql/aggregate": 3, "promql/vector": 3,
	"shard/gossip": 3, "shard/cluster": 3, "shard/repair": 3, "shard/replicate": 3,
	"cmd/minitrue": 4, "cmd/minitruectl": 4,
}

// sideways lists the imports within a floor that are meant; on floor 3 there are none.
var sideways = map[string][]string{
	"shard/merkle":  {"shard"},
	"shard/hint":    {"chunk/disk"},
	"chunk/wal":     {"chunk/disk"},
	"chunk/block":   {"chunk/disk"},
	"chunk/compact": {"chunk/block"},
	"chunk/store":   {"chunk/disk", "chunk/wal", "chunk/head", "chunk/block", "chunk/compact"},
}

func TestPackagesImportOnlyFromLowerFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], module)
		floor, ok := floors[from]
		if !ok {
			continue // the commands' own packages, and those for tests
		}
		for _, path := range fields[1:] {
			to, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			below, known := floors[to]
			switch {
			case strings.HasPrefix(to, "cmd/internal/") && floor == 4:
			case !known:
				t.Errorf("%s imports %s, which has no floor: only tests may", from, to)
			case below > floor, below == floor && !contains(sideways[from], to):
				t.Errorf("%s (floor %d) imports %s (floor %d)", from, floor, to, below)
			}
		}
	}
	for p := range floors {
		if !strings.Contains(string(out), module+p+" ") {
			t.Errorf("there is no package %s", p)
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
