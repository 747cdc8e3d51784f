package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"
)

// headerSteady is on requests whose sender sends nothing on the connection but such as have short answers.
const headerSteady = "X-Minitrue-Steady"

const (
	steadyIdle  = 5 * time.Minute  // until the next request begins
	steadyRead  = 30 * time.Second // for a request to come whole
	steadyWrite = 30 * time.Second // for an answer to go
	maxHead     = 1 << 20          // bytes of a request before its body
	maxDrained  = 256 << 10        // bytes of a body that nobody wanted, so that the connection can go on
)

// takeOver takes a connection from the [http.Server], which has a second goroutine look for its end during each request, and answers all
// requests on it in this one, if the sender's are of that kind. Answers are sent when a handler has returned, and the context of a request does
// not end when the sender goes away.
func (s *Server) takeOver(w http.ResponseWriter, r *http.Request) bool {
	hijacker, ok := w.(http.Hijacker)
	if !ok || r.Header.Get(headerSteady) == "" || r.ContentLength < 0 || r.ProtoMajor != 1 || r.Header.Get("Expect") != "" {
		return false
	}
	conn, rw, err := hijacker.Hijack()
	if err != nil {
		return false
	}
	defer conn.Close()
	if !s.track(conn) {
		return true
	}
	defer s.untrack(conn)
	come, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c := steady{conn: conn, first: r, limit: io.LimitedReader{R: io.MultiReader(bytes.NewReader(bytes.Clone(come)), conn), N: math.MaxInt64}}
	c.r, c.w = bufio.NewReaderSize(&c.limit, linkBuffer), bufio.NewWriterSize(conn, 4<<10)
	c.run(r.Context(), s)
	return true
}

// track notes that a connection is the server's own; false: it is closed.
func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.steady == nil {
		s.steady = map[net.Conn]bool{}
	}
	s.steady[conn] = true
	return true
}

func (s *Server) untrack(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.steady, conn)
}

// Close closes the connections that the [http.Server] does not know any more, and those that it would hand over.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.steady {
		_ = conn.Close()
	}
}

// steady is a connection on which requests come one after the other.
type steady struct {
	conn  net.Conn
	first *http.Request
	limit io.LimitedReader // bounds the head of a request
	r     *bufio.Reader
	w     *bufio.Writer
}

// run answers requests until there are no more.
func (c *steady) run(ctx context.Context, s *Server) {
	r := c.first.Clone(ctx)
	r.Body = io.NopCloser(io.LimitReader(c.r, r.ContentLength))
	_ = c.conn.SetReadDeadline(time.Now().Add(steadyRead))
	for r != nil {
		body := r.Body
		a := &shortAnswer{header: http.Header{}}
		s.serve(a, r)
		n, err := io.CopyN(io.Discard, body, maxDrained+1)
		last := n > maxDrained || err != nil && !errors.Is(err, io.EOF) || r.Close || a.header.Get("Connection") == "close"
		if c.answer(a, r, last) != nil || last {
			return
		}
		r = c.next(ctx)
	}
}

// next reads the head of a request; nil: there is none.
func (c *steady) next(ctx context.Context) *http.Request {
	_ = c.conn.SetReadDeadline(time.Now().Add(steadyIdle))
	if _, err := c.r.Peek(1); err != nil {
		return nil
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(steadyRead))
	c.limit.N = maxHead
	r, err := http.ReadRequest(c.r)
	c.limit.N = math.MaxInt64
	if err != nil {
		return nil
	}
	r.RemoteAddr, r.TLS = c.first.RemoteAddr, c.first.TLS
	return r.WithContext(ctx)
}

// answer sends an answer.
func (c *steady) answer(a *shortAnswer, r *http.Request, last bool) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(steadyWrite))
	code := a.code
	if code == 0 {
		code = http.StatusOK
	}
	resp := http.Response{
		StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: a.header, Close: last,
		ContentLength: int64(a.body.Len()), Body: io.NopCloser(&a.body),
	}
	if err := resp.Write(c.w); err != nil {
		return err
	}
	return c.w.Flush()
}

// shortAnswer is an [http.ResponseWriter] that keeps the answer.
type shortAnswer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (a *shortAnswer) Header() http.Header { return a.header }

func (a *shortAnswer) WriteHeader(code int) {
	if a.code == 0 && code >= http.StatusOK {
		a.code = code
	}
}

func (a *shortAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		return 0, errors.New("the answer is too long")
	}
	return a.body.Write(b)
}
