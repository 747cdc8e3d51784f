package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
)

// slowDisk stands for a store: an append takes what a synced write takes.
type slowDisk struct{ samples atomic.Int64 }

func (d *slowDisk) Append(_ context.Context, b *series.Batch) error {
	time.Sleep(300 * time.Microsecond)
	d.samples.Add(int64(len(b.Samples)))
	return nil
}

func utf8String(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// packet frames a packet.
func packet(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

func connectPacket(id string, version, flags byte, keepalive uint16) []byte {
	b := append(utf8String(nil, "MQTT"), version, flags, byte(keepalive>>8), byte(keepalive))
	if version == 5 {
		b = append(b, 0)
	}
	return packet(0x10, utf8String(b, id))
}

func publishPacket(version byte, qos byte, id uint16, topic, payload string) []byte {
	b := utf8String(nil, topic)
	if qos > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	if version == 5 {
		b = append(b, 0)
	}
	return packet(0x30|qos<<1, append(b, payload...))
}

// publishMany sends n messages of quality 1 with at most window of them unacknowledged.
func publishMany(addr, id string, n, window int) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 4096)
	if _, err := nc.Write(connectPacket(id, 4, 2, 60)); err != nil {
		return err
	}
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		return err
	}
	burst := make([][]byte, window)
	for i := range burst {
		burst[i] = publishPacket(4, 1, uint16(i+1), "iot/sensors/temperature", fmt.Sprintf(`{"device_id":"%s","metric_name":"temperature","timestamp":%d,"value":%d.5}`, id, 1700000000+i, i))
	}
	var out []byte
	sent, acked := 0, 0
	ack := make([]byte, 4)
	for acked < n {
		out = out[:0]
		for sent < n && sent-acked < window {
			out = append(out, burst[sent%window]...)
			sent++
		}
		if len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return err
			}
		}
		for {
			if _, err := io.ReadFull(r, ack); err != nil {
				return err
			}
			if ack[0] != 0x40 {
				return fmt.Errorf("packet %x", ack)
			}
			acked++
			if r.Buffered() < 4 {
				break
			}
		}
	}
	return nil
}

// BenchmarkQoS1 is the figure to hold: messages a second of 100 connections with 20
// in flight each, acknowledged after a commit that takes 0.3 ms, generator included.
func BenchmarkQoS1(b *testing.B) {
	for _, r := range []struct {
		conns, window int
		heard         bool // somebody subscribes to all of it
	}{{1, 20, false}, {1, 1000, false}, {100, 20, false}, {100, 20, true}} {
		b.Run(fmt.Sprintf("connections=%d/window=%d/heard=%v", r.conns, r.window, r.heard), func(b *testing.B) {
			disk := &slowDisk{}
			br := startBroker(b, disk, BrokerOptions{})
			if r.heard {
				p := connect(b, br.Addr().String(), "subscriber", 4, 2)
				p.send(packet(0x82, append(utf8String([]byte{0, 1}, "iot/sensors/#"), 0)))
				go func() { _, _ = io.Copy(io.Discard, p.r) }()
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range r.conns {
				wg.Go(func() {
					if err := publishMany(br.Addr().String(), fmt.Sprintf("device-%03d", i), max(1, b.N/r.conns), r.window); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(disk.samples.Load())/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
