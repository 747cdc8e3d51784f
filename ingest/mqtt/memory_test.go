package mqtt

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
)

// heap is how many MiB are in use.
func heap() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc >> 20)
}

// largest remembers the largest batch, in bytes of its keys.
type largest struct {
	mu    sync.Mutex
	bytes int
	all   int // samples
}

func (l *largest) Append(_ context.Context, b *series.Batch) error {
	n := 0
	for i := range b.Series {
		n += len(b.Series[i].Key)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes, l.all = max(l.bytes, n), l.all+len(b.Samples)
	return nil
}

// A short item may have long names from the topic: neither batches, which have to fit into a record of a log, nor what a connection keeps
// may grow with that.
func TestManyItemsWithLongNames(t *testing.T) {
	next := &largest{}
	b := startBroker(t, next, BrokerOptions{})
	topic := "iot/sensors/" + strings.Repeat("m", maxName) + "/" + strings.Repeat("d", maxName)
	payload := "[" + strings.Repeat(`{"value":1},`, 80_000) + `{"value":2}]`
	before := heap()
	for i := range 4 {
		p := connect(t, b.Addr().String(), fmt.Sprint("c", i), 4, 2)
		p.publish(1, 1, topic, payload)
		p.want(0x40, 1)
	}
	if grown := heap() - before; grown > 128 {
		t.Errorf("4 idle connections keep %d MiB", grown)
	}
	alive(t, b)
	next.mu.Lock()
	defer next.mu.Unlock()
	if next.bytes > 64<<20 || next.all < 10_000 {
		t.Errorf("%d samples are stored, and a batch has %d MiB of keys", next.all, next.bytes>>20)
	}
}

// userProperties are those of a packet of MQTT 5, n of 60,000 bytes each.
func userProperties(n int) []byte {
	var all []byte
	for range n {
		all = utf8String(utf8String(append(all, 0x26), "k"), strings.Repeat("v", 60_000))
	}
	return append(binary.AppendUvarint(nil, uint64(len(all))), all...)
}

// What a retained message holds beside its payload is memory as well.
func TestRetainedProperties(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{RetainedBytes: 2 << 20})
	p := connect(t, b.Addr().String(), "c", 5, 2)
	props := userProperties(16)
	for i := range 20 {
		p.send(packet(0x31, append(append(utf8String(nil, fmt.Sprint("t/", i)), props...), '1')))
	}
	p.wantPing()
	if n := len(b.server.Topics.Messages("t/#")); n < 1 || n > 2 {
		t.Errorf("%d messages of 960 kB are retained in 2 MiB", n)
	}
}
