package ingest

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	"github.com/minitrue/minitrue/chunk/series"
)

// ServeHTTP streams to one reader. The parameters match[] and selector are PromQL series selectors; a
// sample is sent when one of them matches, or when there are none. From the handshake on it sends what any node accepts that
// can be reached, and tells the reader the names of those that cannot.
func (t *Tap) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	r, err := t.newReader(sockets, append(q["match[]"], q["selector"]...))
	if err != nil {
		answerError(w, http.StatusBadRequest, err.Error())
		return
	}
	if err := t.add(r); err != nil {
		w.Header().Set("Retry-After", "5")
		answerError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer t.remove(r)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(req.Context()))
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel(nil)
	if strings.EqualFold(req.Header.Get("Upgrade"), "websocket") { // other nodes are not asked for one who cannot read
		all := make(chan struct{})
		work.Go(func() { t.follow(ctx, r, all) })
		t.await(req.Context(), all)
	}
	c, err := websocket.Accept(w, req, &websocket.AcceptOptions{OriginPatterns: t.o.OriginPatterns})
	if err != nil {
		t.o.Logger.Debug("refused a reader", "remote", req.RemoteAddr, "err", err)
		return // Accept has answered
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 10)
	go func() { // ends when the connection does
		for {
			if _, _, err := c.Read(ctx); err != nil { // readers have nothing to say, but answer pings and say goodbye
				cancel(err)
				return
			}
		}
	}()
	if err := r.stream(ctx, c); err != nil {
		t.o.Logger.Debug("a reader left", "remote", req.RemoteAddr, "err", err)
	}
}

// await waits until the other nodes are heard, or for as long as a reader shall wait for them.
func (t *Tap) await(ctx context.Context, all <-chan struct{}) {
	patience := time.NewTimer(t.o.PeerWait)
	defer patience.Stop()
	select {
	case <-all:
	case <-patience.C:
	case <-t.kinds[sockets].end:
	case <-ctx.Done():
	}
}

// stream sends until the reader goes, which ends ctx, or the tap ends.
func (r *reader) stream(ctx context.Context, c *websocket.Conn) error {
	ping := time.NewTicker(r.tap.o.PingEvery)
	defer ping.Stop()
	r.links.changed() // the reader is told at once of those that are not heard
	var missing []string
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.tap.kinds[sockets].end:
			return c.Close(websocket.StatusGoingAway, "the server is shutting down")
		case <-ping.C:
			if err := r.within(ctx, c.Ping); err != nil {
				return err
			}
		case <-r.links.news:
			if now := r.links.missing(); !slices.Equal(now, missing) {
				missing = now
				buf = append(appendStrings(append(buf[:0], `{"missing":`...), missing), '}')
				if err := r.send(ctx, c, buf); err != nil {
					return err
				}
			}
		case s := <-r.queue:
			r.took(s)
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

// appendStrings appends a JSON array of strings.
func appendStrings(dst []byte, all []string) []byte {
	dst = append(dst, '[')
	for i, s := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string has no error
	return append(dst, b...)
}
