package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/minitrue/minitrue/chunk/series"
)

// mosquitto runs a broker with a persistence file in dir, and returns its address.
func mosquitto(t *testing.T, dir string, port int) (at []string, stop func()) {
	t.Helper()
	path := program(t, "mosquitto")
	conf := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nautosave_interval 1\nautosave_on_changes true\n", port, dir)
	if os.Getuid() == 0 {
		text += "user root\n"
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stop := start(t, path, "-c", conf)
	eventually(t, func() string {
		nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return fmt.Sprintf("%v: %q", err, out.lines())
		}
		nc.Close()
		return ""
	})
	return []string{"-h", "127.0.0.1", "-p", fmt.Sprint(port)}, stop
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// startClient runs a client of an outside broker until the test ends or stop is called.
func startClient(t *testing.T, next Appender, port int, o ClientOptions) (l *letters, stop func()) {
	t.Helper()
	l = &letters{}
	c, stop := runClient(t, next, l, port, o)
	select {
	case <-c.Ready():
	case <-time.After(patience):
		t.Fatal("the client does not subscribe")
	}
	return l, stop
}

// runClient does not wait until the client has subscribed.
func runClient(t *testing.T, next Appender, l *letters, port int, o ClientOptions) (c *Client, stop func()) {
	t.Helper()
	o.URL = fmt.Sprintf("tcp://127.0.0.1:%d", port)
	c = NewClient(next, l, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return c, stop
}

func TestOutsideBroker(t *testing.T) {
	for _, alone := range []bool{false, true} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			port := freePort(t)
			at, _ := mosquitto(t, t.TempDir(), port)
			if alone {
				publishBy(t, at, "-r", "-q", "1", "-t", "iot/sensors/t/old", "-m", "1")
				publishBy(t, at, "-r", "-q", "1", "-t", "iot/sensors/t/dated", "-m", `{"value":1,"timestamp":1}`)
			}
			m := &memory{}
			l, _ := startClient(t, m, port, ClientOptions{Alone: alone, Now: func() time.Time { return time.UnixMilli(receipt0) }})
			var want []string
			if alone { // a retained message without a time says nothing about now
				want = append(want, "t/dated@1000=1")
				wantSamples(t, m, want...)
			}
			for _, qos := range []string{"0", "1", "2"} {
				publishBy(t, at, "-q", qos, "-t", "iot/sensors/t/d", "-m", qos)
				want = append(want, fmt.Sprintf("t/d@%d=%s", receipt0, qos))
				wantSamples(t, m, want...)
			}
			publishBy(t, at, "-q", "1", "-t", "iot/sensors/t", "-m", "hello")
			eventually(t, func() string {
				if got := l.list(); !slices.Equal(got, []string{"json: hello"}) {
					return fmt.Sprintf("put aside %q", got)
				}
				return ""
			})
		})
	}
}

// Two nodes share the messages: each is stored by one of them.
func TestOutsideBrokerIsShared(t *testing.T) {
	port := freePort(t)
	at, _ := mosquitto(t, t.TempDir(), port)
	one, two := &memory{}, &memory{}
	startClient(t, one, port, ClientOptions{ID: "n1"})
	startClient(t, two, port, ClientOptions{ID: "n2"})
	for range 10 {
		publishBy(t, at, "-q", "1", "-t", "iot/sensors/t/d", "-m", "1")
	}
	eventually(t, func() string {
		if n := len(one.list()) + len(two.list()); n != 10 {
			return fmt.Sprintf("%d samples", n)
		}
		return ""
	})
	if len(one.list()) == 0 || len(two.list()) == 0 {
		t.Fatalf("%d and %d", len(one.list()), len(two.list()))
	}
}

// What was published while the node was away, what it had not committed, and what it could not
// commit, comes again.
func TestOutsideBrokerSendsAgain(t *testing.T) {
	port := freePort(t)
	at, _ := mosquitto(t, t.TempDir(), port)
	m := &memory{}
	o := ClientOptions{ID: "n1", Tuning: Tuning{RetryFor: time.Millisecond, DrainFor: 10 * time.Millisecond}}
	send := func(v string) {
		publishBy(t, at, "-q", "1", "-t", "iot/sensors/t/d", "-m", `{"value":`+v+`,"timestamp":`+v+`}`)
	}
	_, stop := startClient(t, m, port, o)
	send("1")
	wantSamples(t, m, "t/d@1000=1")

	m.set(func() { m.block = make(chan struct{}) }) // never committed
	send("2")
	stop()
	send("3")
	m.set(func() { m.block, m.fail = nil, series.ErrUnavailable })
	c, _ := runClient(t, m, &letters{}, port, o)
	send("4")
	eventually(t, func() string {
		if testutil.ToFloat64(c.m.failed) == 0 {
			return "nothing has failed"
		}
		return ""
	})
	m.set(func() { m.fail = nil })
	eventually(t, func() string {
		got := m.list()
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, []string{"t/d@1000=1", "t/d@2000=2", "t/d@3000=3", "t/d@4000=4"}) {
			return fmt.Sprintf("stored %v", got)
		}
		return ""
	})
}

// The client comes back by itself when its broker does.
func TestOutsideBrokerRestarts(t *testing.T) {
	port, dir := freePort(t), t.TempDir()
	at, stop := mosquitto(t, dir, port)
	m := &memory{}
	startClient(t, m, port, ClientOptions{ID: "n1"})
	publishBy(t, at, "-q", "1", "-t", "iot/sensors/t/d", "-m", `{"value":1,"timestamp":1}`)
	wantSamples(t, m, "t/d@1000=1")
	stop()
	mosquitto(t, dir, port)
	n := 1
	eventually(t, func() string {
		n++
		err := exec.Command(program(t, "mosquitto_pub"), append(slices.Clone(at), "-q", "1", "-t", "iot/sensors/t/d", "-m", fmt.Sprintf(`{"value":%d,"timestamp":%d}`, n, n))...).Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) || len(m.list()) < 2 {
			return "nothing arrives after the restart"
		}
		return ""
	})
}
