package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// mosquitto starts Mosquitto on a port of its own and returns its address.
func mosquitto(t *testing.T) string {
	t.Helper()
	exe := proc.Find(t, "mosquitto")
	port := ports.Next(t)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	config := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n", port)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p := proc.Start(t, exe, "-c", file)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	untilListens(t, p, addr)
	return addr
}

// untilListens waits until a program takes connections at an address.
func untilListens(t *testing.T, p *proc.Process, addr string) {
	t.Helper()
	proc.Until(t, "it listens at "+addr, func() error {
		if err := p.Ended(); err != nil {
			t.Fatalf("%v: %s", err, p.Output())
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// pub publishes with Mosquitto's own client.
func pub(t *testing.T, broker, topic, payload string, args ...string) {
	t.Helper()
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-h", host, "-p", port, "-t", topic, "-m", payload}, args...)
	if out, err := exec.CommandContext(t.Context(), proc.Find(t, "mosquitto_pub"), args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %s: %v, it prints %s", strings.Join(args, " "), err, out)
	}
}

func untilCount(t *testing.T, n *node, device, metric string, want int64) {
	t.Helper()
	proc.Until(t, fmt.Sprintf("%d readings of the %s of %s are there", want, metric, device), func() error {
		a, err := ask(n.url, device, metric, "count")
		if err == nil && a.Count != want {
			err = fmt.Errorf("there are %d", a.Count)
		}
		return err
	})
}

// A node reads the sensors of a broker outside. Readings that come while it is away,
// stopped or killed, wait for it.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	broker := mosquitto(t)
	n := startNode(t, "--broker=tcp://"+broker, "--node-id=gateway")
	proc.Until(t, "the node has subscribed", func() error {
		if !strings.Contains(n.Output(), "msg=subscribed") {
			return errors.New("it has not")
		}
		return nil
	})
	if _, err := net.Dial("tcp", n.mqtt); err == nil {
		t.Error("it runs a broker of its own besides")
	}
	for qos := range 3 {
		pub(t, broker, "iot/sensors/temperature", fmt.Sprintf(`{"device_id":"m1","timestamp":%d,"value":%d.5}`, time.Now().Unix()-10+int64(qos), 20+qos), "-q", strconv.Itoa(qos))
	}
	pub(t, broker, "iot/sensors/humidity/m1", "55.5", "-q", "1")
	pub(t, broker, "iot/sensors/humidity/m1", "not a number", "-q", "1")
	untilCount(t, n, "m1", "temperature", 3)
	untilCount(t, n, "m1", "humidity", 1)
	for operation, want := range map[string]float64{"sum": 64.5, "avg": 21.5, "min": 20.5, "max": 22.5} {
		if a, err := ask(n.url, "m1", "temperature", operation); err != nil || a.Result == nil || *a.Result != want {
			t.Errorf("%s: %+v, %v; want %v", operation, a, err, want)
		}
	}
	proc.Until(t, "the bad payload is shown", func() error {
		body, err := fetch(n.url + "/api/v1/ingest/rejected")
		if err == nil && !strings.Contains(string(body), "not a number") {
			err = fmt.Errorf("rejected: %s", body)
		}
		return err
	})

	c := sensor(t, broker, "publisher")
	base, sent, before := time.Now().Add(-time.Hour).UnixMilli(), 0, int64(0)
	publish := func(messages int) error {
		for range messages {
			payload := fmt.Sprintf(`{"device_id":"m2","timestamp":%d,"value":%d}`, base+int64(sent), sent)
			if err := send(c, "iot/sensors/sequence", payload); err != nil {
				return err
			}
			sent++
		}
		return nil
	}
	for _, away := range []func(){
		func() { n.Kill(t) },
		func() {
			if code := n.Stop(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		},
	} {
		published := make(chan error, 1)
		go func() { published <- publish(500) }()
		proc.Until(t, "it takes readings", func() error {
			a, err := ask(n.url, "m2", "sequence", "count")
			if err == nil && a.Count == before {
				err = errors.New("there are none yet")
			}
			return err
		})
		away()
		err := <-published
		if err == nil {
			err = publish(1200) // more than Mosquitto keeps unless it is told to
		}
		n.start(t)
		if err == nil {
			err = publish(100)
		}
		if err != nil {
			t.Fatal(err)
		}
		untilCount(t, n, "m2", "sequence", int64(sent))
		before = int64(sent)
	}
	if a, err := ask(n.url, "m2", "sequence", "sum"); err != nil || a.Result == nil || *a.Result != float64(sent*(sent-1)/2) {
		t.Errorf("sum of 0 to %d: %+v, %v", sent-1, a, err)
	}
}

// Mosquitto's client publishes to the node's own broker, at every QoS.
func TestMosquittoPub(t *testing.T) {
	t.Parallel()
	proc.Find(t, "mosquitto_pub")
	n := startNode(t)
	untilListens(t, n.Process, n.mqtt) // it is ready before its broker is
	for qos := range 3 {
		for _, version := range []string{"mqttv311", "mqttv5"} {
			device := fmt.Sprintf("pub-%d-%s", qos, version)
			pub(t, n.mqtt, "iot/sensors/temperature", fmt.Sprintf(`{"device_id":%q,"metric_name":"temperature","value":21.5}`, device), "-q", strconv.Itoa(qos), "-V", version)
			untilCount(t, n, device, "temperature", 1) // at QoS 0 a moment after the client has gone
		}
	}
	pub(t, n.mqtt, "iot/sensors/pressure", `[{"device_id":"a","timestamp":1700000000,"value":1},{"device_id":"b","timestamp":1700000000,"value":2}]`, "-q", "1", "-r")
	untilCount(t, n, "a", "pressure", 1)
	untilCount(t, n, "b", "pressure", 1)
}
