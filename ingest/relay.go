package ingest

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/minitrue/minitrue/shard/peer"
)

// pathTap is where another node subscribes for one of its readers:
//
//	POST /peer/v1/tap    match[]=…&match[]=…  (as a form; none means all)
//	200                  frames of package peer, each a tapFrame, as long as both nodes are there
//
// The first frame comes when the stream is one of the tap's readers: what is accepted afterwards is in it.
const pathTap = "/peer/v1/tap"

const maxMatch = 1 << 20 // bytes of a subscription: what an HTTP server takes of a URL

// Mux takes handlers of requests from other nodes.
type Mux interface {
	Handle(path string, h http.Handler)
}

// Register adds the handler by which other nodes hear what this one accepts.
func (t *Tap) Register(m Mux) { m.Handle(pathTap, http.HandlerFunc(t.serveStream)) }

func (t *Tap) serveStream(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxMatch))
	if err != nil {
		http.Error(w, "read the subscription: "+err.Error(), http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, "the subscription is not a form: "+err.Error(), http.StatusBadRequest)
		return
	}
	r, err := t.newReader(streams, form["match[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := t.add(r); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer t.remove(r)
	w.Header().Set("Content-Type", "application/octet-stream")
	s := &stream{reader: r, frames: peer.NewFrameWriter(w), conn: http.NewResponseController(w)}
	err = s.run(req)
	t.o.Logger.Debug("a node subscribes no more", "peer", peer.Sender(req), "err", err)
}

// stream sends one reader's samples to another node. It is for one goroutine.
type stream struct {
	*reader
	frames *peer.FrameWriter
	conn   *http.ResponseController
	next   tapFrame
}

var errGone = errors.New("the other node has gone")

// run sends until the other node goes, or the tap is drained. Each turn is a frame; one without samples says that this node is there.
func (s *stream) run(req *http.Request) error {
	beat := time.NewTicker(s.tap.o.Beat)
	defer beat.Stop()
	for {
		if err := s.send(); err != nil {
			return err
		}
		select {
		case <-req.Context().Done():
			return errGone
		case <-s.tap.kinds[streams].end:
			return s.drain()
		case <-beat.C:
		case one := <-s.queue:
			s.add(one)
		}
	}
}

func (s *stream) add(one tapped) {
	s.took(one)
	s.next.add(one)
}

// send sends what is in the queue already, or as much of it as a frame should have.
func (s *stream) send() error {
	for more := true; more && len(s.next.buf) < frameTarget; {
		select {
		case one := <-s.queue:
			s.add(one)
		default:
			more = false
		}
	}
	n := s.next.samples
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.tap.o.WriteTimeout)) // net/http lifts it when the request ends
	if err := s.frames.Write(s.next.take(s.lost.Swap(0))); err != nil {
		return err
	}
	if err := s.conn.Flush(); err != nil {
		return err
	}
	s.tap.relayed.Add(float64(n))
	return nil
}

// drain sends all that is left, and that the stream is whole.
func (s *stream) drain() error {
	for len(s.queue) > 0 {
		if err := s.send(); err != nil {
			return err
		}
	}
	return errors.Join(s.frames.Close(nil), s.conn.Flush())
}
