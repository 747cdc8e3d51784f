package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// links are connections on which the goroutine that asks writes the request and reads the answer itself. [http.Transport] has two goroutines for
// each connection; where requests come by the thousand and answers are a line, waking these costs more than all the rest. Answers are read
// whole. It is an [http.RoundTripper] for requests that may be sent twice.
type links struct {
	tls     *tls.Config
	timeout time.Duration // of a request

	mu   sync.Mutex
	idle map[string][]*link // by address, the one that was used last at the end
}

type link struct {
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	used time.Time
}

const (
	maxIdle    = time.Minute
	linkBuffer = 32 << 10
	maxAnswer  = 32 << 20 // bytes: the answer to a write has some for each series that is rejected
)

// RoundTrip implements [http.RoundTripper].
func (ls *links) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), ls.timeout)
	defer cancel()
	for {
		l := ls.take(r.URL.Host)
		old := l != nil
		if l == nil {
			var err error
			if l, err = ls.dial(ctx, r.URL.Host); err != nil {
				return nil, err
			}
		}
		resp, begun, err := l.exchange(ctx, r)
		if err == nil {
			if ls.mu.Lock(); resp.Close || ctx.Err() != nil {
				_ = l.conn.Close()
			} else {
				ls.keep(r.URL.Host, l)
			}
			ls.mu.Unlock()
			return resp, nil
		}
		_ = l.conn.Close()
		// Else the node had closed the connection, as any may be that nobody uses. The connection may know before ctx does that time is over.
		if !old || begun || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
}

// take returns an idle link to an address, or nil.
func (ls *links) take(addr string) *link {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	list := ls.idle[addr]
	if len(list) == 0 {
		return nil
	}
	l := list[len(list)-1]
	ls.idle[addr] = list[:len(list)-1]
	return l
}

// keep makes a link idle, and closes those that have been so for long. The caller holds mu.
func (ls *links) keep(addr string, l *link) {
	l.used = time.Now()
	list := ls.idle[addr]
	for len(list) > 0 && (l.used.Sub(list[0].used) > maxIdle || len(list) >= idleConns) {
		_ = list[0].conn.Close()
		list = list[1:]
	}
	if ls.idle == nil {
		ls.idle = map[string][]*link{}
	}
	ls.idle[addr] = append(list, l)
}

// CloseIdleConnections closes the links that nobody uses.
func (ls *links) CloseIdleConnections() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, list := range ls.idle {
		for _, l := range list {
			_ = l.conn.Close()
		}
	}
	ls.idle = nil
}

func (ls *links) dial(ctx context.Context, addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if ls.tls != nil {
		config := ls.tls.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secured
	}
	return &link{conn: conn, r: bufio.NewReaderSize(conn, 4<<10), w: bufio.NewWriterSize(conn, linkBuffer)}, nil
}

// exchange sends a request and reads the answer; begun says whether some of that came.
func (l *link) exchange(ctx context.Context, r *http.Request) (resp *http.Response, begun bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := l.conn.SetDeadline(deadline); err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r.Header.Set(headerSteady, "1")
	resp, err = l.ask(r)
	begun = err == nil || l.r.Buffered() > 0
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err == nil && len(body) > maxAnswer {
			err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.DeadlineExceeded
		if ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	return resp, begun, err
}

// ask sends a request and reads the head of the answer. A node may answer before it has read everything, and close.
func (l *link) ask(r *http.Request) (*http.Response, error) {
	sent := r.Write(l.w)
	if sent == nil {
		sent = l.w.Flush()
	}
	if errors.Is(sent, os.ErrDeadlineExceeded) {
		return nil, sent
	}
	resp, err := http.ReadResponse(l.r, r)
	switch {
	case err == nil:
		resp.Close = resp.Close || sent != nil
		return resp, nil
	case sent != nil:
		return nil, sent
	}
	return nil, err
}
