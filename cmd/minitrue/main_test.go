package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

var (
	builder proc.Builder // of the programs that the tests run
	ports   proc.Ports
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := builder.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// node is a node in a process of its own. It keeps its ports and its data folder when it is
// killed and started again.
type node struct {
	*proc.Process
	exe  string
	args []string
	url  string // of HTTP
	mqtt string // address of the broker, host:port
	data string
}

// newNode makes a node with these flags beside its own. It does not start it.
func newNode(t *testing.T, flags ...string) *node {
	t.Helper()
	n := &node{data: filepath.Join(t.TempDir(), "data"), mqtt: fmt.Sprintf("127.0.0.1:%d", ports.Next(t))}
	port := ports.Next(t)
	n.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	n.exe = builder.Build(t, "", "github.com/minitrue/minitrue/cmd/minitrue", proc.Race()...)
	n.args = append([]string{"--port", strconv.Itoa(port), "--mqtt-listen", n.mqtt, "--data-dir", n.data}, flags...)
	return n
}

// launch starts the node and does not wait for it.
func (n *node) launch(t *testing.T) {
	t.Helper()
	n.Process = proc.Start(t, n.exe, n.args...)
}

// start starts the node and waits until it is ready.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.launch(t)
	n.UntilOK(t, n.url+"/-/ready")
}

// startNode is a node that is ready.
func startNode(t *testing.T, flags ...string) *node {
	t.Helper()
	n := newNode(t, flags...)
	n.start(t)
	return n
}

// fetch asks for a URL and returns an answer of 200, or an error that has what it says instead.
func fetch(u string) ([]byte, error) {
	resp, err := http.Get(u)
	if err != nil {
		return nil, err
	}
	return answer(resp)
}

func answer(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, nil
}

// result is one series of an answer of the Prometheus API.
type result struct {
	Metric     map[string]string `json:"metric"`
	Value      []any             `json:"value"`
	Values     [][]any           `json:"values"`
	Histograms []json.RawMessage `json:"histograms"`
}

// instant asks a PromQL question about a time; zero is now.
func instant(base, query string, at time.Time) ([]result, error) {
	form := url.Values{"query": {query}}
	if !at.IsZero() {
		form.Set("time", seconds(at))
	}
	body, err := fetch(base + "/api/v1/query?" + form.Encode())
	if err != nil {
		return nil, err
	}
	var a struct {
		Data struct {
			Result []result `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%w in %.200s", err, body)
	}
	return a.Data.Result, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// scalar asks a PromQL question whose answer is one number; no series at all is 0.
func scalar(base, query string) (float64, error) {
	rs, err := instant(base, query, time.Time{})
	if err != nil || len(rs) == 0 {
		return 0, err
	}
	if len(rs) > 1 || len(rs[0].Value) != 2 {
		return 0, fmt.Errorf("%s has %d answers", query, len(rs))
	}
	text, _ := rs[0].Value[1].(string)
	return strconv.ParseFloat(text, 64)
}

// untilScalar waits until a PromQL question has the answer that is wanted.
func untilScalar(t *testing.T, base, query string, good func(v float64) bool) {
	t.Helper()
	proc.Until(t, query+" is as wanted", func() error {
		v, err := scalar(base, query)
		if err == nil && !good(v) {
			err = fmt.Errorf("it is %v", v)
		}
		return err
	})
}

// aggregated is the answer of POST /query.
type aggregated struct {
	DeviceID  string   `json:"device_id"`
	Metric    string   `json:"metric_name"`
	Operation string   `json:"operation"`
	Result    *float64 `json:"result"`
	Count     int64    `json:"count"`
}

// ask asks POST /query about all that a device ever measured.
func ask(base, device, metric, operation string) (a aggregated, err error) {
	body := fmt.Sprintf(`{"device_id":%q,"metric_name":%q,"operation":%q,"start_time":0,"end_time":0}`, device, metric, operation)
	resp, err := http.Post(base+"/query", "application/json", strings.NewReader(body))
	if err != nil {
		return a, err
	}
	text, err := answer(resp)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, err
	}
	if a.DeviceID != device || a.Metric != metric || a.Operation != operation {
		return a, fmt.Errorf("asked %s, and the answer is %s", body, text)
	}
	return a, nil
}

// sensor connects an MQTT client that reconnects when the broker goes away.
func sensor(t *testing.T, broker, id string) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + broker).SetClientID(id).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).
		SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond).SetConnectTimeout(2 * time.Second))
	t.Cleanup(func() { c.Disconnect(0) })
	if token := c.Connect(); !token.WaitTimeout(time.Minute) || token.Error() != nil {
		t.Fatalf("%s cannot connect to %s: %v", id, broker, token.Error())
	}
	return c
}

// send publishes a reading at QoS 1 and waits until it is acknowledged.
func send(c paho.Client, topic, payload string) error {
	token := c.Publish(topic, 1, false, payload)
	if !token.WaitTimeout(time.Minute) {
		return errors.New("no PUBACK in a minute")
	}
	return token.Error()
}
