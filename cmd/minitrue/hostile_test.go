package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// attack is a request that nobody should send.
type attack struct {
	name   string
	path   string
	header http.Header
	body   []byte
	code   int // that it is answered with
}

func attacks() []attack {
	write := http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	text := http.Header{"Content-Type": {"application/json"}}
	promise := func(n uint64) []byte { return append(binary.AppendUvarint(nil, n), 0, 'x') }
	label := func(name, value string) []byte {
		l := append(append([]byte{0x0a, byte(len(name))}, name...), append([]byte{0x12, byte(len(value))}, value...)...)
		return append([]byte{0x0a, byte(len(l))}, l...)
	}
	series := func(parts ...[]byte) []byte {
		b := bytes.Join(parts, nil)
		return snappy.Encode(nil, append(binary.AppendUvarint([]byte{0x0a}, uint64(len(b))), b...))
	}
	sample := []byte{0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 1}
	var million [][]byte
	for i := range 1_000_000 {
		million = append(million, label(fmt.Sprint("l", i), "v"))
	}
	query := func(q string, more ...string) []byte {
		v := url.Values{"query": {q}}
		for i := 0; i+1 < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return []byte(v.Encode())
	}
	return []attack{
		{"a promise of 4 GiB", "/api/v1/write", write, promise(1<<32 - 1), 413},
		{"a promise of 1 TiB", "/api/v1/write", write, promise(1 << 40), 400},
		{"no snappy", "/api/v1/write", write, []byte("hello"), 400},
		{"no protobuf", "/api/v1/write", write, snappy.Encode(nil, []byte("hello")), 400},
		{"zeros that grow", "/api/v1/write", write, snappy.Encode(nil, make([]byte, 30<<20)), 400},
		{"40 MiB", "/api/v1/write", write, make([]byte, 40<<20), 413},
		{"a million label names", "/api/v1/write", write, series(append(million, sample)...), 400},
		{"labels that are no UTF-8", "/api/v1/write", write, series(label("__name__", "\xff\xfe"), sample), 400},
		{"a series that does not end", "/api/v1/write", write, snappy.Encode(nil, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}), 400},
		{"a promise to remote_read", "/api/v1/read", write, promise(1<<32 - 1), 413},
		{"no protobuf to remote_read", "/api/v1/read", write, snappy.Encode(nil, []byte("hello")), 400},
		{"deep parentheses", "/api/v1/query", form, query(strings.Repeat("(", 1_000_000)), 400},
		{"a giant regular expression", "/api/v1/query", form, query(`{__name__=~"` + strings.Repeat("(a|b)?", 40_000) + `"}`), 400},
		{"an endless subquery", "/api/v1/query", form, query("max_over_time(vector(1)[100y:1ms])"), 422},
		{"a range in tiny steps", "/api/v1/query_range", form, query("1", "start", "0", "end", "1700000000", "step", "0.001"), 400},
		{"a million keys", "/api/v1/query", form, bytes.Repeat([]byte("a=1&"), 1_000_000), 400},
		{"20 MiB of PromQL", "/api/v1/query", form, append([]byte("query="), bytes.Repeat([]byte("a"), 20<<20)...), 413},
		{"no selector", "/api/v1/series", form, []byte("match[]="), 400},
		{"no JSON", "/query", text, []byte("\xff{"), 400},
		{"deep JSON", "/query", text, bytes.Repeat([]byte("["), 1_000_000), 400},
		{"an unknown operation", "/query", text, []byte(`{"metric_name":"a","operation":"x"}`), 400},
		{"20 MiB of JSON", "/query", text, bytes.Repeat([]byte(" "), 20<<20), 413},
		{"a delete of everything by mistake", "/delete", text, []byte(`{}`), 400},
		{"a delete by a broken selector", "/api/v1/admin/tsdb/delete_series", form, []byte("match[]={"), 400},
		{"nothing that exists", "/api/v1/../../etc/passwd", form, nil, 404},
	}
}

// packetsOfDoom are what sensors should not send; after each the broker ends the connection or waits for more.
func packetsOfDoom() [][]byte {
	hello := []byte("\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04doom")
	after := func(b ...byte) []byte { return append(bytes.Clone(hello), b...) }
	return [][]byte{
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		{0x10, 0xff, 0xff, 0xff, 0x7f},
		{0x10, 0xff, 0xff, 0xff, 0xff, 0xff},
		hello[:9],
		after(0x82, 2, 0, 1),
		after(0x82, 5, 0, 1, 0, 9, 'a'),
		after(0x32, 0x80, 0xc2, 0xd7, 0x2f), // 100 MB
		after(0x36, 5, 0, 1, 'a', 0, 1),     // QoS 3
		after(0x30, 5, 0, 3, 0xff, 0xfe, 0),
		after(0xf0, 0),
		bytes.Repeat([]byte{0}, 1000),
	}
}

// Hostile clients at every door at once, again and again: each is told what is wrong with a 4xx or cut off, the memory of the node is
// bounded, and those who behave lose nothing and go on.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	const rounds = 3
	n := startNode(t, "--memtable-size=4MB")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := startLoad(ctx, t, n.url, 2000, 20_000)
	w := newWriter(n, "sensor")
	var well sync.WaitGroup
	t.Cleanup(well.Wait)
	well.Go(func() { w.run(ctx) })
	proc.Until(t, "the first readings are acknowledged", func() error {
		if w.some.Load() == 0 {
			return errors.New("there are none")
		}
		return nil
	})

	var halfOpen []net.Conn // connections that never say all they have to
	for i := range 400 {
		to := strings.TrimPrefix(n.url, "http://")
		if i%2 == 1 {
			to = n.mqtt
		}
		conn, err := net.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Le")[:1+i%30])
		halfOpen = append(halfOpen, conn)
	}

	before := w.some.Load()
	var bad sync.WaitGroup
	var answers atomic.Int64
	for _, a := range attacks() {
		bad.Go(func() {
			for range rounds {
				code, text, err := a.do(ctx, n.url)
				switch {
				case a.code == http.StatusRequestEntityTooLarge && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)):
					// It was cut off in the middle of what is too large, before it looked for the answer.
				case err != nil:
					t.Errorf("%s: %v", a.name, err)
				case code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests: // so much at once is too much: later
				case code != a.code || code != 404 && strings.TrimSpace(text) == "":
					t.Errorf("%s: %d %.300s, want %d", a.name, code, text, a.code)
				default:
					answers.Add(1)
				}
			}
		})
	}
	for _, raw := range packetsOfDoom() {
		bad.Go(func() {
			for range 20 * rounds {
				doom(t, n.mqtt, raw)
			}
		})
	}
	bad.Wait()
	if answers.Load() < int64(len(attacks())) {
		t.Errorf("%d attacks were answered", answers.Load())
	}
	proc.Until(t, "sensors are heard while and after all that", func() error {
		if w.some.Load() == before {
			return errors.New("none was")
		}
		return nil
	})
	if err := n.Ended(); err != nil {
		t.Fatal(err)
	}
	m, err := bench.Process{PID: n.PID()}.Memory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("memory at its highest: %d MiB; %d attacks answered", m.Peak>>20, answers.Load())
	if len(proc.Race()) == 0 && m.Peak > 512<<20 {
		t.Errorf("%d MiB of memory at its highest", m.Peak>>20)
	}
	text, err := fetch(n.url + "/metrics")
	if err != nil || !strings.Contains(string(text), "rejected") {
		t.Errorf("metrics say nothing of it: %v", err)
	}
	for _, conn := range halfOpen {
		_ = conn.Close()
	}
	stop()
	well.Wait()
	l.check(t, n.url)
	w.check(t, n)
}

func (a attack) do(ctx context.Context, base string) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base, bytes.NewReader(a.body))
	if err != nil {
		return 0, "", err
	}
	req.URL.Opaque = a.path // as it is
	req.Header = a.header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// doom sends bytes and waits until the broker has enough of them.
func doom(t *testing.T, broker string, raw []byte) {
	conn, err := net.Dial("tcp", broker)
	if err != nil {
		t.Errorf("the broker does not take connections: %v", err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond)) // those that wait for more are half open
	if _, err := conn.Write(raw); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)
}
