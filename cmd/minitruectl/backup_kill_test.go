package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/fixture"
)

// A backup and a restore that are killed at any moment, and begun again until they end, give the folder back.
func TestBackupIsKilled(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	for i := range 6 {
		fixture.Fill(t, data, 2000*i, 2000*i+1000, true)
	}
	fixture.Fill(t, data, 12_000, 12_100, false)
	bucket, restored := filepath.Join(t.TempDir(), "bucket"), filepath.Join(t.TempDir(), "restored")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for _, args := range [][]string{{"backup", "--data-dir", data, "--to", bucket}, {"restore", "--from", bucket, "--data-dir", restored}} {
		kills := 0
		for patience := 5 * time.Millisecond; ; patience += patience / 4 {
			p := exec.Command(exe, args...)
			p.Env = append(os.Environ(), asCommand+"=1")
			var out bytes.Buffer
			p.Stdout, p.Stderr = &out, &out
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			dies := time.AfterFunc(time.Duration(rng.Int64N(int64(patience))), func() { _ = p.Process.Kill() })
			err := p.Wait()
			dies.Stop()
			if err == nil {
				break
			}
			kills++
			if p.ProcessState.ExitCode() >= 0 {
				t.Fatalf("%q: %v\n%s", args, err, out.String())
			}
			if _, err := os.Stat(restored); err == nil && args[0] == "restore" {
				if out, err := run(t, "verify", "--data-dir", restored); err != nil {
					t.Fatalf("there is a folder, and it is damaged: %v\n%s", err, out)
				}
				break // killed after its work
			}
			if args[0] == "backup" {
				if out, err := run(t, "backup", "verify", "--from", bucket); err != nil {
					t.Fatalf("after a kill: %v\n%s", err, out)
				}
			}
		}
		t.Logf("%s was killed %d times", args[0], kills)
	}
	files := map[string]string{}
	for i, dir := range []string{data, restored} {
		files[dir] = filepath.Join(t.TempDir(), strconv.Itoa(i))
		must(t, "export", "--data-dir", dir, "--format", "jsonl", "--output", files[dir])
	}
	if a, b := read(t, files[data]), read(t, files[restored]); a != b || len(a) < 100_000 {
		t.Errorf("%d bytes of samples were restored, %d saved", len(b), len(a))
	}
	must(t, "backup", "list", "--from", bucket)
	wants(t, must(t, "backup", "prune", "--from", bucket, "--keep", "1", "--grace", "0"), "kept 1 backups")
	must(t, "backup", "verify", "--from", bucket, "--at", "latest")
}
