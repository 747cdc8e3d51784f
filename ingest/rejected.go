package ingest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// RingOptions of a ring. The zero value is usable.
type RingOptions struct {
	Entries    int                   // rejections that are remembered; 0 means 1,000
	Payload    int                   // bytes of a payload that are remembered; 0 means 4 KiB
	Now        func() time.Time      // nil means time.Now
	Registerer prometheus.Registerer // nil: the metric counts unseen
}

// Rejection is one message that could not be stored.
type Rejection struct {
	Time    time.Time `json:"time"`
	Door    string    `json:"door"`
	Topic   string    `json:"topic,omitempty"`
	Reason  string    `json:"reason"`
	Error   string    `json:"error"`
	Payload string    `json:"payload,omitempty"`        // when it is UTF-8
	Binary  []byte    `json:"payload_base64,omitempty"` // when it is not
	Bytes   int       `json:"payload_bytes"`            // of the whole payload
}

// Ring remembers the last rejections, the dead letters, for people to look at. Its memory is
// bounded: the oldest gives way, and long payloads are cut.
type Ring struct {
	o       RingOptions
	counter *prometheus.CounterVec

	mu     sync.Mutex // guards what follows
	last   []Rejection
	next   int            // where in last the next one goes
	counts map[string]int // by reason, since the start
}

// NewRing returns an empty ring.
func NewRing(o RingOptions) *Ring {
	if o.Entries == 0 {
		o.Entries = 1000
	}
	if o.Payload == 0 {
		o.Payload = 4 << 10
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ring{o: o, counts: map[string]int{}, counter: promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_ingest_dead_letters_total",
		Help: "Messages, or items of one, that were put aside, by door and reason.",
	}, []string{"door", "reason"})}
}

// Add remembers a rejection. Reasons are short and few: they are labels of a
// metric. The payload is copied.
func (r *Ring) Add(door, topic, reason string, err error, payload []byte) {
	e := Rejection{Time: r.o.Now().UTC(), Door: door, Topic: clip(topic, 256), Reason: reason, Error: clip(err.Error(), 1024), Bytes: len(payload)}
	if kept := cut(payload, r.o.Payload); utf8.Valid(kept) {
		e.Payload = string(kept)
	} else {
		e.Binary = append([]byte(nil), kept...)
	}
	r.counter.WithLabelValues(door, reason).Inc()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[reason]++
	if len(r.last) < r.o.Entries {
		r.last = append(r.last, e)
		return
	}
	r.last[r.next] = e
	r.next = (r.next + 1) % len(r.last)
}

// cut shortens a payload to n bytes, and to the rune before where that makes it UTF-8.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for i := n; i >= max(0, n-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i]
		}
	}
	return b[:n]
}

// Last returns up to n rejections, the newest first, and how many there were by reason.
func (r *Ring) Last(n int) ([]Rejection, map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Rejection, min(n, len(r.last)))
	for i := range out {
		at := r.next - 1 - i
		if at < 0 {
			at += len(r.last)
		}
		out[i] = r.last[at]
	}
	return out, maps.Clone(r.counts)
}

// ServeHTTP answers GET /api/v1/ingest/rejected?limit=n, newest first.
func (r *Ring) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answerError(w, http.StatusMethodNotAllowed, "use GET")
		return
	}
	limit := r.o.Entries
	if s := req.URL.Query().Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			answerError(w, http.StatusBadRequest, fmt.Sprintf("limit=%q is not a number of entries", clip(s, 64)))
			return
		}
		limit = n
	}
	last, counts := r.Last(limit)
	answer(w, http.StatusOK, map[string]any{"status": "success", "data": map[string]any{"rejected": last, "counts": counts}})
}

func answerError(w http.ResponseWriter, code int, text string) {
	answer(w, code, map[string]string{"status": "error", "errorType": "bad_data", "error": text})
}

// answer writes JSON. The reader may be gone, which is nobody's error.
func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}
