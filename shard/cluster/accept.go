package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// AcceptOptions of the handler of other nodes' writes. The zero value is usable.
type AcceptOptions struct {
	DeviceLabel string                // the label that makes a shard key; "" means device_id
	Limits      series.Limits         // of labels, as those of Local
	Deletes     Deletes               // nil: nothing was ever deleted
	RetryAfter  time.Duration         // what a node is told to wait when writes are not possible; 0 means 1s
	Logger      *slog.Logger          // nil discards
	Registerer  prometheus.Registerer // nil: the metrics count unseen
}

func (o AcceptOptions) withDefaults() AcceptOptions {
	if o.DeviceLabel == "" {
		o.DeviceLabel = "device_id"
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Deletes are what this node knows to be deleted.
type Deletes interface {
	// Await waits until what the sender of a write knew to be deleted, by the digest in [peer.Deletes], is so here.
	Await(ctx context.Context, theirs uint64) error
	// Live calls store for what was written at a time (Unix ms) unless something was deleted since: then done is false.
	Live(ctx context.Context, written int64, store func() error) (done bool, err error)
	// Deleted is [Deleted].
	Deleted(ctx context.Context, b *series.Batch, written int64, store func() error) error
}

type acceptHandler struct {
	o        AcceptOptions
	local    Local
	decode   Decode
	members  Membership
	requests *prometheus.CounterVec
	samples  prometheus.Counter
	briefs   atomic.Int64 // bytes of memory of the briefs at hand
}

// NewAcceptHandler returns the handler of POST /peer/v1/write, by which a node takes what others have for it. It answers 200, with the series that
// cannot be stored, when everything else is durable; 409 ([peer.ErrStale]) when the sender knows another ring and sends series that are
// not for this node; 412 when it sends series by ids that this node does not know, or several writes of which one is older than a delete; 503
// when writes are not possible at the moment, or the sender has applied deletes that this node has not heard of; and what Decode says when the
// body is wrong.
func NewAcceptHandler(local Local, decode Decode, members Membership, o AcceptOptions) http.Handler {
	f := promauto.With(o.Registerer)
	return &acceptHandler{
		o: o.withDefaults(), local: local, decode: decode, members: members,
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "minitrue_cluster_accept_requests_total",
			Help: "Writes that came from other nodes, by the code of the answer.",
		}, []string{"code"}),
		samples: f.NewCounter(prometheus.CounterOpts{
			Name: "minitrue_cluster_accept_samples_total",
			Help: "Samples and histograms that were stored for other nodes.",
		}),
	}
}

// ServeHTTP implements [http.Handler].
func (h *acceptHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := h.accept(r)
	if err == nil {
		h.requests.WithLabelValues("200").Inc()
		w.Header().Set("Content-Type", "application/json")
		raw, _ := json.Marshal(answer) // cannot fail
		_, _ = w.Write(raw)
		return
	}
	code := statusOf(err)
	h.requests.WithLabelValues(strconv.Itoa(code)).Inc()
	if code >= http.StatusInternalServerError {
		h.o.Logger.Warn("refused a write of another node", "peer", peer.Sender(r), "code", code, "err", err)
	}
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(max(1, int(h.o.RetryAfter.Seconds()))))
	}
	if code == http.StatusConflict {
		peer.RefuseStale(w, err.Error())
		return
	}
	http.Error(w, err.Error(), code)
}

// accept stores what a request brings.
func (h *acceptHandler) accept(r *http.Request) (answer writeAnswer, err error) {
	if r.Method != http.MethodPost {
		return answer, &statusError{http.StatusMethodNotAllowed, "a write is a POST request"}
	}
	answer.Briefs = true
	if h.o.Deletes != nil {
		if err := h.o.Deletes.Await(r.Context(), peer.Deletes(r)); err != nil { // before the body takes memory
			return answer, err
		}
	}
	b, release, err := h.read(r)
	if err != nil {
		return answer, err
	}
	defer release()
	if err := h.checkOwners(r, b); err != nil {
		return answer, err
	}
	answer.Series = len(b.Series) // those of a brief, which are the last, cannot be rejected
	for len(b.IDs) > 0 && answer.Series > 0 && b.Series[answer.Series-1].Key == nil {
		answer.Series--
	}
	before := b.Rejected
	b.Rejected = series.Rejected{} // what the decoder has left out is not in the batch
	if before.Any() {
		h.o.Logger.Warn("another node sent what cannot be decoded", "peer", peer.Sender(r), "err", errors.Join(before.Errs...))
	}
	if err := h.store(r, b); err != nil {
		return answer, err
	}
	answer.Rejected = rejectedIn(b, h.o.Limits)
	h.samples.Add(float64(len(b.Samples) + len(b.Histograms) - b.Rejected.Samples - b.Rejected.Histograms))
	return answer, nil
}

// store stores a batch, without what was deleted since it was written. Of several writes together nothing is left out, since some may be younger than the
// delete: who sent them sends each alone.
func (h *acceptHandler) store(r *http.Request, b *series.Batch) error {
	store := func() error { return h.local.Append(r.Context(), b) }
	written, one := r.Header.Get(headerWritten), true
	if written == "" {
		written, one = r.Header.Get(headerOldest), false
	}
	if written == "" || h.o.Deletes == nil {
		return store()
	}
	at, err := strconv.ParseInt(written, 10, 64)
	if err != nil {
		return &statusError{http.StatusBadRequest, fmt.Sprintf("the time of the write, %.40q, is no number", written)}
	}
	switch done, err := h.o.Deletes.Live(r.Context(), at, store); {
	case done || err != nil:
		return err
	case !one || len(b.IDs) > 0:
		return &statusError{http.StatusPreconditionFailed, "something was deleted since the oldest of the writes: send each whole and alone"}
	}
	return h.o.Deletes.Deleted(r.Context(), b, at, store)
}

// checkOwners refuses series that are not for this node: of a sender that knows another ring, or of one that wrote before it knew this one.
func (h *acceptHandler) checkOwners(r *http.Request, b *series.Batch) error {
	v := h.members.View()
	theirs, ok := peer.Epoch(r)
	if ok && theirs == v.Ring.Epoch() && v.Self >= 0 && r.Header.Get(headerWritten) == "" {
		return nil
	}
	if len(b.IDs) > 0 {
		return fmt.Errorf("the request is for the ring %016x, this node knows %016x: %w", theirs, v.Ring.Epoch(), series.ErrUnknownSeries)
	}
	for i := range b.Series {
		p := shard.PartitionOfKey(b.Series[i].Key, h.o.DeviceLabel)
		if v.Self < 0 || !slices.Contains(v.Ring.Writers(p), uint8(v.Self)) {
			return &statusError{http.StatusConflict, fmt.Sprintf("partition %d is not for this node: it knows the ring %016x, and the request is for %016x", p, v.Ring.Epoch(), theirs)}
		}
	}
	return nil
}

// statusError is a request that is answered with a code.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string   { return e.text }
func (e *statusError) StatusCode() int { return e.code }

// codeOf is what an error of a decoder says.
func codeOf(err error) int {
	var coded interface{ StatusCode() int }
	if errors.As(err, &coded) {
		return coded.StatusCode()
	}
	return http.StatusBadRequest
}

// statusOf is what an error is answered with.
func statusOf(err error) int {
	var se *statusError
	switch {
	case errors.As(err, &se):
		return se.code
	case errors.Is(err, series.ErrUnknownSeries):
		return http.StatusPreconditionFailed
	case errors.Is(err, series.ErrUnavailable), errors.Is(err, series.ErrOverload), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
