package proc

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// asked makes this test's own executable the program that the tests start.
const asked = "MINITRUE_PROC_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(asked) {
	case "serve":
		fmt.Println("about to serve")
		fmt.Println(http.ListenAndServe(os.Args[1], http.NotFoundHandler()))
		os.Exit(3)
	case "fail":
		fmt.Fprintln(os.Stderr, "no way")
		os.Exit(2)
	}
	os.Exit(m.Run())
}

func self(t *testing.T, what string, args ...string) *Process {
	t.Helper()
	t.Setenv(asked, what)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, exe, args...)
}

func TestProcessEndsByItself(t *testing.T) {
	p := self(t, "fail")
	if code := p.Wait(t); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if got := p.Output(); got != "no way\n" {
		t.Errorf("printed %q", got)
	}
	if err := p.Ended(); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("ended: %v", err)
	}
}

// A killed program's port is free at once, for the same program again.
func TestProcessIsKilled(t *testing.T) {
	var ports Ports
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Next(t))
	for range 3 {
		p := self(t, "serve", addr)
		Until(t, "it listens", func() error {
			if err := p.Ended(); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("tcp", addr)
			if err == nil {
				err = c.Close()
			}
			return err
		})
		p.Kill(t)
		if p.Ended() == nil {
			t.Fatal("it lives on")
		}
	}
}

func TestProcessStops(t *testing.T) {
	var ports Ports
	p := self(t, "serve", fmt.Sprintf("127.0.0.1:%d", ports.Next(t)))
	if code := p.Stop(t); code != -1 {
		t.Errorf("exit code %d of a program that a signal ended, want -1", code)
	}
}

func TestPortsAreDifferent(t *testing.T) {
	var ports Ports
	seen := map[int]bool{}
	for range 100 {
		n := ports.Next(t)
		if seen[n] {
			t.Fatalf("port %d was given out twice", n)
		}
		seen[n] = true
	}
}

func TestBuilder(t *testing.T) {
	var b Builder
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	t.Setenv(asked+"_EXE", "/somewhere")
	if exe := b.Build(t, asked+"_EXE", "example.org/none"); exe != "/somewhere" {
		t.Errorf("the environment's executable is %s", exe)
	}
	build, err := b.once("example.org/none", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(); err == nil || !strings.Contains(err.Error(), "example.org/none") {
		t.Errorf("a package that does not exist: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(b.dir); !os.IsNotExist(err) {
		t.Errorf("after Close, the folder: %v", err)
	}
}
