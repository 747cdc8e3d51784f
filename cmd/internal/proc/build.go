package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Builder builds executables, each of them once, into a folder of its own. The zero value is
// ready for use.
type Builder struct {
	mu    sync.Mutex // guards dir and built
	dir   string
	built map[string]func() (string, error)
}

// Build returns the executable of a main package. One that an environment variable names is
// taken as it is; env may be "".
func (b *Builder) Build(t testing.TB, env, pkg string, flags ...string) string {
	t.Helper()
	if env != "" {
		if exe := os.Getenv(env); exe != "" {
			return exe
		}
	}
	build, err := b.once(pkg, flags)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func (b *Builder) once(pkg string, flags []string) (func() (string, error), error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "minitrue-test-")
		if err != nil {
			return nil, err
		}
		b.dir, b.built = dir, map[string]func() (string, error){}
	}
	if b.built[pkg] == nil {
		exe := filepath.Join(b.dir, path.Base(pkg))
		if runtime.GOOS == "windows" {
			exe += ".exe"
		}
		b.built[pkg] = sync.OnceValues(func() (string, error) {
			args := append(append([]string{"build", "-o", exe}, flags...), pkg)
			if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
				return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
			}
			return exe, nil
		})
	}
	return b.built[pkg], nil
}

// Close removes what was built.
func (b *Builder) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// Race are the flags that build a program with the race detector if the test itself has it.
func Race() []string {
	if race {
		return []string{"-race"}
	}
	return nil
}

// Find returns the path of an installed program. Without it the test is skipped, or, in CI
// where nothing may be left out, it fails.
func Find(t testing.TB, name string) string {
	t.Helper()
	exe, ok := Lookup(t, name)
	if !ok {
		t.Skipf("%s is not installed", name)
	}
	return exe
}

// Lookup is like Find and leaves it to the caller what to do without the program.
func Lookup(t testing.TB, name string) (exe string, ok bool) {
	t.Helper()
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/local/sbin/" + name} {
		if exe, err := exec.LookPath(candidate); err == nil {
			return exe, true
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed, and CI leaves nothing out", name)
	}
	return "", false
}
