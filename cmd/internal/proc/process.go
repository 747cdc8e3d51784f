package proc

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a program that was started.
type Process struct {
	name string
	cmd  *exec.Cmd
	out  string        // the file that gets what it prints
	done chan struct{} // closed when the program has ended
}

// Start starts a program. The test's end kills it.
func Start(t testing.TB, exe string, args ...string) *Process {
	t.Helper()
	p := &Process{name: filepath.Base(exe), out: filepath.Join(t.TempDir(), "out"), done: make(chan struct{})}
	out, err := os.Create(p.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd = exec.Command(exe, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = dieWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the state is read from cmd.ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if strings.Contains(p.Output(), "WARNING: DATA RACE") { // which the exit code of a killed program does not say
			t.Errorf("%s has a data race", p.name)
		}
		if t.Failed() {
			t.Logf("%s %s (%s) printed:\n%s", p.name, strings.Join(args, " "), p.cmd.ProcessState, tail(p.Output()))
		}
	})
	return p
}

const shown = 16 << 10 // bytes of output that a failed test shows

func tail(s string) string {
	if len(s) <= shown {
		return s
	}
	return "…" + s[len(s)-shown:]
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the program has printed, on both of its outputs.
func (p *Process) Output() string {
	b, err := os.ReadFile(p.out)
	if err != nil {
		return err.Error()
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

// Ended is an error that says how the program ended, or nil while it runs.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %s", p.name, p.cmd.ProcessState)
	default:
		return nil
	}
}

// Kill ends the program as a power cut would, and returns when it is gone.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	if err := p.Ended(); err != nil {
		t.Fatalf("before it was killed, %v", err)
	}
	p.kill()
}

func (p *Process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	<-p.done
}

// Stop asks the program to end, by SIGTERM, and returns its exit code.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop %s: %v", p.name, err)
	}
	return p.Wait(t)
}

// Wait waits until the program ends and returns its exit code.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
	return p.cmd.ProcessState.ExitCode()
}

// UntilOK waits until a URL answers 200, and fails the test when the program ends before.
func (p *Process) UntilOK(t testing.TB, url string) {
	t.Helper()
	Until(t, url+" answers 200", func() error {
		if err := p.Ended(); err != nil {
			t.Fatalf("%v; it printed:\n%s", err, tail(p.Output()))
		}
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	})
}
