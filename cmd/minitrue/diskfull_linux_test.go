package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/golang/snappy"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// smallDisk mounts a tmpfs of so many MiB where only nodes that the returned function starts see it, and makes the data
// folder of a node there. The second result is its path for everybody else.
func smallDisk(t *testing.T, n *node, mib int) (launch func(), path string) {
	t.Helper()
	dir := t.TempDir()
	unshare, nsenter := []string{"--mount"}, []string{"--mount"}
	if os.Getuid() != 0 { // in a user namespace everybody may mount
		unshare, nsenter = append(unshare, "--user", "--map-root-user"), append(nsenter, "--user", "--preserve-credentials")
	}
	holder := proc.Start(t, "unshare", append(unshare, "sh", "-c",
		fmt.Sprintf(`mount -t tmpfs -o size=%dm tmpfs "$0" && touch "$0"/mounted && exec sleep infinity`, mib), dir)...)
	path = fmt.Sprintf("/proc/%d/root%s", holder.PID(), dir)
	proc.Until(t, "the small disk is mounted", func() error {
		if err := holder.Ended(); err != nil {
			t.Fatalf("mount: %v: %s", err, holder.Output())
		}
		_, err := os.Stat(filepath.Join(path, "mounted"))
		return err
	})
	n.data = filepath.Join(path, "data")
	for i, arg := range n.args {
		if arg == "--data-dir" {
			n.args[i+1] = filepath.Join(dir, "data")
		}
	}
	args := append([]string{"--target", fmt.Sprint(holder.PID())}, nsenter...)
	args = append(append(args, n.exe), n.args...)
	return func() {
		n.Process = proc.Start(t, "nsenter", args...)
		n.UntilOK(t, n.url+"/-/ready")
	}, path
}

// fill takes all the room that is left, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// writeOne sends one sample by remote_write.
func writeOne(url string) (code int, retryAfter string, err error) {
	body := snappy.Encode(nil, []byte("\x0a\x1f\x0a\x10\x0a\x08__name__\x12\x04lone\x12\x0b\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01"))
	resp, err := http.Post(url+"/api/v1/write", "application/x-protobuf", strings.NewReader(string(body)))
	if err != nil {
		return 0, "", err
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), resp.Body.Close()
}

// The disk is full again and again: meanwhile writers are told to come back, readers are served, and as soon as there is room all goes on by
// itself. Nothing that was acknowledged is lost, after a kill either.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	n := newNode(t, "--memtable-size=1MB")
	launch, disk := smallDisk(t, n, 64)
	launch()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 500, 20_000)
	w := newWriter(n, "sensor")
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() { w.run(ctx) })
	wg.Go(func() { w.watch(ctx, t, n.url) })
	for range 3 {
		before := w.some.Load()
		proc.Until(t, "readings are acknowledged", func() error {
			if w.some.Load() < before+1000 {
				return errors.New("there are few")
			}
			return nil
		})
		free := fill(t, disk)
		proc.Until(t, "writes are refused for a while", func() error {
			switch code, again, err := writeOne(n.url); {
			case err != nil:
				return err
			case code != http.StatusServiceUnavailable:
				return fmt.Errorf("%d", code)
			case again == "":
				t.Error("503 without Retry-After")
			}
			return nil
		})
		if a, err := ask(n.url, "sensor", "sequence", "count"); err != nil || a.Count < before {
			t.Errorf("reads do not go on: %+v, %v", a, err)
		}
		free()
		proc.Until(t, "writes go on", func() error {
			code, _, err := writeOne(n.url)
			if err == nil && code/100 != 2 {
				err = fmt.Errorf("%d", code)
			}
			return err
		})
	}
	stop()
	wg.Wait()
	n.Kill(t)
	launch()
	l.check(t, n.url)
	w.check(t, n)
}
