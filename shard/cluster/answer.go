package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/minitrue/minitrue/chunk/duty"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// The paths of what nodes ask each other for queries.
const (
	pathScan      = "/peer/v1/scan"
	pathFetch     = "/peer/v1/fetch" // a scan whatever the ring is
	pathLabels    = "/peer/v1/labels"
	pathExemplars = "/peer/v1/exemplars"
	pathMetadata  = "/peer/v1/metadata"
	pathAggregate = "/peer/v1/aggregate"
	pathDigests   = "/peer/v1/digests"
	pathEvaluate  = "/peer/v1/evaluate"
)

// AnswerOptions of the handlers. The zero value is usable.
type AnswerOptions struct {
	DeviceLabel string        // the label that makes a shard key; "" means device_id
	Stall       time.Duration // how long the other node may take for a frame before it is given up; 0 means 1m
	Logger      *slog.Logger  // nil discards

	// Evaluate evaluates a request of another node over what is stored in the partitions of shard.Only; nil: this node does not, and others
	// read its samples.
	Evaluate func(ctx context.Context, request []byte) (answer []byte, err error)
}

// ReadHandlers answer other nodes from what this node has.
type ReadHandlers struct {
	o       AnswerOptions
	local   Source
	members Membership
	cycle   duty.Cycle // the clock of answers that rest; for tests
}

// NewReadHandlers returns handlers.
func NewReadHandlers(local Source, members Membership, o AnswerOptions) *ReadHandlers {
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &ReadHandlers{o: o, local: local, members: members}
}

// Register adds the handlers to a server.
func (h *ReadHandlers) Register(s *peer.Server) {
	s.HandleCurrent(pathScan, h.handler(h.owned, h.scan))
	s.HandleCurrent(pathLabels, h.handler(h.owned, h.labels))
	s.HandleCurrent(pathExemplars, h.handler(h.owned, h.exemplars))
	s.HandleCurrent(pathAggregate, h.handler(h.owned, h.aggregate))
	s.HandleCurrent(pathDigests, h.handler(h.owned, h.digests))
	if h.o.Evaluate != nil {
		s.HandleCurrent(pathEvaluate, h.handler(h.owned, h.evaluate))
	}
	// Whoever repairs takes what there is, from owners and others; and metadata is everywhere.
	s.Handle(pathFetch, h.handler(nil, h.fetch))
	s.Handle(pathMetadata, h.handler(nil, h.metadata))
}

// owned refuses a request that was made by another ring than this node's.
func (h *ReadHandlers) owned(q *request) error {
	v := h.members.View()
	if epoch := v.Ring.Epoch(); epoch != q.epoch {
		return fmt.Errorf("the request is for the ring %016x, this node knows %016x", q.epoch, epoch)
	}
	strange := *q.parts
	if v.Self >= 0 {
		strange.Minus(v.Ring.Owned(v.Self))
	}
	if n := strange.Len(); n > 0 {
		return fmt.Errorf("this node does not own %d of the partitions", n)
	}
	return nil
}

// handler makes a handler of a function that writes frames.
func (h *ReadHandlers) handler(check func(*request) error, answer func(ctx context.Context, w *answerWriter, q *request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			http.Error(w, "could not read the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		q, err := parseRequest(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if check != nil {
			if err := check(q); err != nil {
				peer.RefuseStale(w, err.Error())
				return
			}
		}
		out := newAnswerWriter(w, h.o.Stall)
		err = answer(within(r.Context(), q.parts), out, q)
		if err != nil && r.Context().Err() == nil {
			h.o.Logger.Warn("could not answer a node", "peer", peer.Sender(r), "path", r.URL.Path, "err", err)
		}
		out.close(err) // an error here is the other node's loss alone
	})
}

// within limits what storage answers to partitions. All of them are no limit, which storage answers faster.
func within(ctx context.Context, parts *shard.Set) context.Context {
	if parts.Len() == shard.Partitions {
		if shard.Only(ctx) == nil {
			return ctx
		}
		parts = nil
	}
	return shard.Within(ctx, parts)
}

// answerWriter writes frames. A node that does not take them in time is given up, so that it cannot hold what it reads from for ever.
type answerWriter struct {
	frames *peer.FrameWriter
	conn   *http.ResponseController
	stall  time.Duration
}

func newAnswerWriter(w http.ResponseWriter, stall time.Duration) *answerWriter {
	w.Header().Set("Content-Type", "application/octet-stream")
	return &answerWriter{frames: peer.NewFrameWriter(w), conn: http.NewResponseController(w), stall: stall}
}

// Write writes one frame.
func (w *answerWriter) Write(payload []byte) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.stall)) // as far as it can have one
	return w.frames.Write(payload)
}

// flush sends what is written now: the other node waits for a sign of life.
func (w *answerWriter) flush() { _ = w.conn.Flush() }

func (w *answerWriter) close(err error) {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.stall))
	_ = w.frames.Close(err)
	_ = w.conn.SetWriteDeadline(time.Time{}) // the connection is used again
}
