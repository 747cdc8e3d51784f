package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// readmeCommands are the lines of the first block of commands below a heading of README.
func readmeCommands(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	_, rest, found := strings.Cut(rest, "\n```sh\n")
	block, _, _ := strings.Cut(rest, "\n```")
	if !found {
		t.Fatalf("README has no commands below %q", heading)
	}
	return strings.Split(block, "\n")
}

// burrow is a network namespace with a loopback and nothing else, and a folder for what runs in it.
type burrow struct{ name, dir string }

func newBurrow(t *testing.T) *burrow {
	t.Helper()
	b := &burrow{fmt.Sprintf("mtb%d", os.Getpid()), t.TempDir()}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", b.name).Run() })
	ip(t, "netns", "add", b.name)
	ip(t, "-n", b.name, "link", "set", "lo", "up")
	return b
}

// command is what runs a line of a shell in it.
func (b *burrow) command(line string) []string {
	return []string{"netns", "exec", b.name, "sh", "-c", "cd '" + b.dir + "' && exec " + line}
}

// dial connects to an address in it. A socket belongs to the namespace that its thread is in when it is made. The thread goes back, and
// does not end: it may be the one that started a node, which would be killed with it.
func (b *burrow) dial(address string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	defer own.Close()
	ns, err := os.Open("/run/netns/" + b.name)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp4", address)
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		panic("this thread cannot go back to its network: " + err.Error())
	}
	return c, err
}

// door is an address outside of it that leads to one inside, until the test ends.
func (b *burrow) door(t *testing.T, inside string) (outside string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		_ = l.Close()
	})
	go func() {
		for {
			out, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				in, err := b.dial(inside)
				if err != nil {
					_ = out.Close()
					return
				}
				end := func() { _, _ = in.Close(), out.Close() }
				defer context.AfterFunc(ctx, end)()
				defer end()
				go func() {
					defer end()
					_, _ = io.Copy(in, out)
				}()
				_, _ = io.Copy(out, in)
			}()
		}
	}()
	return l.Addr().String()
}

// The commands of README for three nodes, as they stand there, make a cluster: minitruectl shows it, and when any one node is killed, the
// first among them, all that was written is answered, and the node gets what it missed when it is back.
func TestReadmeThreeNodes(t *testing.T) {
	t.Parallel()
	b := newBurrow(t)
	lines := readmeCommands(t, "Three nodes")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "go build -o bin/ ") || lines[4] != "bin/minitruectl ring status" {
		t.Fatalf("README does not build, start three nodes and look at them: %q", lines)
	}
	if err := os.Mkdir(filepath.Join(b.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"minitrue", "minitruectl"} {
		if !regexp.MustCompile(`\./cmd/` + name + `( |$)`).MatchString(lines[0]) {
			t.Errorf("%s does not build %s", lines[0], name)
		}
		exe := builder.Build(t, "", "github.com/minitrue/minitrue/cmd/"+name, proc.Race()...)
		if err := os.Symlink(exe, filepath.Join(b.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	var nodes []*node
	for i, line := range lines[1:4] {
		n := &node{exe: "ip", args: b.command(line)}
		n.url = "http://" + b.door(t, fmt.Sprintf("127.0.0.1:%d", 8080+i))
		n.mqtt = b.door(t, fmt.Sprintf("127.0.0.1:%d", 1883+i))
		n.launch(t) // nobody waits for the first before the next is started
		nodes = append(nodes, n)
	}
	untilRing(t, b, lines[4], "up", "up", "up")

	writers := publishAll(t, nodes, "before")
	for i, victim := range nodes {
		victim.Kill(t)
		health := []string{"up", "up", "up"}
		health[i] = "down"
		rest := append(append([]*node{}, nodes[:i]...), nodes[i+1:]...)
		for _, n := range rest {
			for _, w := range writers {
				w.check(t, n)
				untilCount(t, n, w.device, "sequence", int64(len(w.acked)))
			}
		}
		if i > 0 { // minitruectl asks the first
			untilRing(t, b, lines[4], health...)
		}
		writers = append(writers, publishAll(t, rest, fmt.Sprintf("without-%d", i+1))...)
		victim.launch(t)
		untilRing(t, b, lines[4], "up", "up", "up")
		untilActive(t, nodes, 3)
		untilEqual(t, nodes)
	}
}

// untilRing waits until the command shows the three nodes, active and with such health.
func untilRing(t *testing.T, b *burrow, line string, health ...string) {
	t.Helper()
	proc.Until(t, "minitruectl shows the ring", func() error {
		out, err := exec.CommandContext(t.Context(), "ip", b.command(line)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		ring := ringLines(string(out))
		for i, one := range health {
			name := fmt.Sprintf("ing%d", i+1)
			if got := strings.Join(ring[name], " "); len(ring) != len(health) || !strings.HasPrefix(got, name+" active "+one+" 4096 (33.3%)") {
				return fmt.Errorf("it shows %s", out)
			}
		}
		return nil
	})
}
