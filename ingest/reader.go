package ingest

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
)

// tapped is a sample on its way to a reader, with a key of its own.
type tapped struct {
	key []byte
	series.Sample
}

// reader is one WebSocket that the tap feeds.
type reader struct {
	tap       *Tap
	selectors [][]*labels.Matcher // any of them; none means all
	queue     chan tapped
	lost      atomic.Uint64 // samples dropped and not yet told
}

func (r *reader) wants(ls []labels.Label) bool {
	for _, ms := range r.selectors {
		if matches(ms, ls) {
			return true
		}
	}
	return len(r.selectors) == 0
}

func matches(ms []*labels.Matcher, ls []labels.Label) bool {
	for _, m := range ms {
		v := ""
		for _, l := range ls {
			if l.Name == m.Name {
				v = l.Value
				break
			}
		}
		if !m.Matches(v) {
			return false
		}
	}
	return true
}

// put queues a sample or drops it; it never waits.
func (r *reader) put(s tapped) {
	select {
	case r.queue <- s:
	default:
		r.lost.Add(1)
		r.tap.dropped.Inc()
	}
}

// stream sends until the reader goes, which ends ctx, or the tap ends.
func (r *reader) stream(ctx context.Context, c *websocket.Conn) error {
	ping := time.NewTicker(r.tap.o.PingEvery)
	defer ping.Stop()
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.tap.done:
			return c.Close(websocket.StatusGoingAway, "the server is shutting down")
		case <-ping.C:
			if err := r.within(ctx, c.Ping); err != nil {
				return err
			}
		case s := <-r.queue:
			buf = appendSample(buf[:0], s)
			if err := r.send(ctx, c, buf); err != nil {
				return err
			}
			r.tap.sent.Inc()
		}
		if n := r.lost.Swap(0); n > 0 {
			buf = append(strconv.AppendUint(append(buf[:0], `{"dropped":`...), n, 10), '}')
			if err := r.send(ctx, c, buf); err != nil {
				return err
			}
		}
	}
}

func (r *reader) send(ctx context.Context, c *websocket.Conn, msg []byte) error {
	return r.within(ctx, func(ctx context.Context) error { return c.Write(ctx, websocket.MessageText, msg) })
}

func (r *reader) within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.tap.o.WriteTimeout)
	defer cancel()
	return f(ctx)
}

// appendSample appends a sample as readers get it:
//
//	{"metric_name":"temperature","device_id":"d1","labels":{…},"timestamp":1700000000000,"value":21.5}
//
// The timestamp is in milliseconds. A value that JSON has no number for is one of
// the strings "NaN", "+Inf", "-Inf"; a stale marker is "NaN" and has "stale":true.
func appendSample(dst []byte, s tapped) []byte {
	dst = append(dst, '{')
	// The key was read once before it came here: it has no errors.
	_ = series.EachLabel(s.key, func(name, v string) {
		switch name {
		case model.MetricNameLabel:
			dst = appendString(append(dst, `"metric_name":`...), v)
			dst = append(dst, ',')
		case "device_id":
			dst = appendString(append(dst, `"device_id":`...), v)
			dst = append(dst, ',')
		}
	})
	dst = append(dst, `"labels":{`...)
	first := true
	_ = series.EachLabel(s.key, func(name, v string) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, name), ':')
		dst = appendString(dst, v)
	})
	dst = strconv.AppendInt(append(dst, `},"timestamp":`...), s.T, 10)
	dst = append(dst, `,"value":`...)
	switch {
	case math.IsNaN(s.V):
		dst = append(dst, `"NaN"`...)
	case math.IsInf(s.V, 1):
		dst = append(dst, `"+Inf"`...)
	case math.IsInf(s.V, -1):
		dst = append(dst, `"-Inf"`...)
	default:
		dst = strconv.AppendFloat(dst, s.V, 'g', -1, 64)
	}
	if value.IsStaleNaN(s.V) {
		dst = append(dst, `,"stale":true`...)
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string has no error
	return append(dst, b...)
}
