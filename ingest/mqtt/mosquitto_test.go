package mqtt

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// program finds one of Mosquitto's programs, or skips the test; where CI is set, it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin") {
		if p := filepath.Join(dir, name); exec.Command(p, "--help").Run() == nil || isFile(p) {
			return p
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("program %s is not installed", name)
	}
	t.Skipf("program %s is not installed", name)
	return ""
}

func isFile(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular()
}

func address(b *Broker) []string {
	host, port, _ := net.SplitHostPort(b.Addr().String())
	return []string{"-h", host, "-p", port}
}

// publishBy runs mosquitto_pub.
func publishBy(t *testing.T, at []string, args ...string) {
	t.Helper()
	out, err := exec.Command(program(t, "mosquitto_pub"), append(slices.Clone(at), args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mosquitto_pub %v: %v: %s", args, err, out)
	}
}

// output collects what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Split(strings.TrimSpace(o.buf.String()), "\n")
}

// start runs a program until the test ends or stop is called.
func start(t *testing.T, path string, args ...string) (out *output, stop func()) {
	t.Helper()
	out = &output{}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	t.Cleanup(stop)
	return out, stop
}

func subscribeBy(t *testing.T, at []string, args ...string) (*output, func()) {
	t.Helper()
	all := append(slices.Clone(at), "-F", "%t %r %p")
	return start(t, program(t, "mosquitto_sub"), append(all, args...)...)
}

func wantLines(t *testing.T, out *output, want ...string) {
	t.Helper()
	eventually(t, func() string {
		if got := out.lines(); !slices.Equal(got, want) {
			return fmt.Sprintf("got %q, want %q", got, want)
		}
		return ""
	})
}

func subscriptions(n int, b *Broker) func() string {
	return func() string {
		have := 0
		for _, cl := range b.server.Clients.GetAll() {
			have += cl.State.Subscriptions.Len()
		}
		if have != n {
			return fmt.Sprintf("%d subscriptions, want %d", have, n)
		}
		return ""
	}
}

func keepsRetained(n int, b *Broker) func() string {
	return func() string {
		have := 0
		for topic := range b.server.Topics.Retained.GetAll() {
			if !strings.HasPrefix(topic, "$SYS/") {
				have++
			}
		}
		if have != n {
			return fmt.Sprintf("%d retained messages, want %d", have, n)
		}
		return ""
	}
}

func TestMosquittoPublishes(t *testing.T) {
	for _, version := range []string{"31", "311", "5"} {
		t.Run(version, func(t *testing.T) {
			m := &memory{}
			b := startBroker(t, m, BrokerOptions{})
			at := append(address(b), "-V", "mqttv"+version)
			var want []string
			for _, qos := range []string{"0", "1", "2"} {
				publishBy(t, at, "-q", qos, "-t", "iot/sensors/temperature", "-m", `{"device_id":"d1","metric_name":"temperature","timestamp":170000000`+qos+`,"value":21.5}`)
				want = append(want, fmt.Sprintf("temperature/d1@170000000%s000=21.5", qos))
				wantSamples(t, m, want...)
			}
		})
	}
}

func TestMosquittoSubscribes(t *testing.T) {
	for _, version := range []string{"311", "5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(version+", quality "+qos, func(t *testing.T) {
				b := startBroker(t, &memory{}, BrokerOptions{})
				at := append(address(b), "-V", "mqttv"+version, "-q", qos)
				// At quality 0 a message may still be on its way when its sender has gone, and be overtaken.
				publishBy(t, at, "-r", "-t", "iot/sensors/t/kept", "-m", "1")
				eventually(t, keepsRetained(1, b))
				publishBy(t, at, "-r", "-t", "iot/sensors/t/gone", "-m", "1")
				eventually(t, keepsRetained(2, b))
				publishBy(t, at, "-r", "-t", "iot/sensors/t/gone", "-n")
				eventually(t, keepsRetained(1, b))
				out, _ := subscribeBy(t, at, "-t", "iot/+/t/#", "-t", "other/#")
				wantLines(t, out, "iot/sensors/t/kept 1 1")
				publishBy(t, at, "-t", "iot/sensors/t/d", "-m", "2")
				wantLines(t, out, "iot/sensors/t/kept 1 1", "iot/sensors/t/d 0 2")
				publishBy(t, at, "-t", "iot/sensors/x/d", "-m", "3")
				publishBy(t, at, "-t", "other/thing", "-m", "hello")
				wantLines(t, out, "iot/sensors/t/kept 1 1", "iot/sensors/t/d 0 2", "other/thing 0 hello")
			})
		}
	}
}

// A burst to a subscriber with MQTT 5's default Receive Maximum of 20 arrives whole and in order.
func TestMosquittoReceivesABurst(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{})
	at := append(address(b), "-V", "mqttv5", "-q", "2")
	out, _ := subscribeBy(t, at, "-t", "burst")
	eventually(t, subscriptions(1, b))
	p := connect(t, b.Addr().String(), "p", 4, 2)
	var want []string
	for i := range 500 {
		p.publish(1, uint16(i+1), "burst", fmt.Sprint(i))
		p.want(0x40, uint16(i+1))
		want = append(want, fmt.Sprintf("burst 0 %d", i))
	}
	// What the subscriber asked for is 2, what the publisher offered 1: delivered with 1.
	wantLines(t, out, want...)
}

func TestMosquittoSessionIsKept(t *testing.T) {
	for _, version := range []string{"311", "5"} {
		b := startBroker(t, &memory{}, BrokerOptions{})
		at := append(address(b), "-V", "mqttv"+version, "-q", "1")
		args := []string{"-c", "-i", "keeper", "-t", "keep/#"}
		if version == "5" {
			args = append(args, "-x", "100")
		}
		_, stop := subscribeBy(t, at, args...)
		eventually(t, subscriptions(1, b))
		stop()
		eventually(t, func() string {
			if len(b.all()) > 0 {
				return "the subscriber is still there"
			}
			return ""
		})
		p := connect(t, b.Addr().String(), "p", 4, 2)
		var want []string
		for i := range 100 {
			p.publish(1, 1, "keep/a", fmt.Sprint(i))
			p.want(0x40, 1)
			want = append(want, fmt.Sprintf("keep/a 0 %d", i))
		}
		out, _ := subscribeBy(t, at, args...)
		wantLines(t, out, want...)
	}
}

// A will is published, and stored when it is a sample.
func TestMosquittoLeavesAWill(t *testing.T) {
	m := &memory{}
	b := startBroker(t, m, BrokerOptions{})
	out, _ := subscribeBy(t, address(b), "-t", "iot/sensors/#")
	eventually(t, subscriptions(1, b))
	_, stop := subscribeBy(t, address(b), "-t", "x", "--will-topic", "iot/sensors/online/d", "--will-payload", `{"value":0,"timestamp":1}`, "--will-qos", "1")
	eventually(t, subscriptions(2, b))
	stop()
	wantLines(t, out, `iot/sensors/online/d 0 {"value":0,"timestamp":1}`)
	wantSamples(t, m, "online/d@1000=0")
}

func TestPahoPublishes(t *testing.T) {
	m := &memory{}
	b := startBroker(t, m, BrokerOptions{})
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.Addr().String()).SetClientID("paho").SetCleanSession(false))
	if tok := c.Connect(); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer c.Disconnect(0)
	var toks []paho.Token
	for i := range 300 {
		toks = append(toks, c.Publish("iot/sensors/t/d", byte(i%3), false, fmt.Sprint(i)))
	}
	for _, tok := range toks {
		if !tok.WaitTimeout(patience) || tok.Error() != nil {
			t.Fatal("not acknowledged", tok.Error())
		}
	}
	eventually(t, func() string {
		if n := len(m.list()); n != 300 {
			return fmt.Sprintf("%d samples", n)
		}
		return ""
	})
}
