package peer

import (
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// ServerOptions of a server. The zero value is usable.
type ServerOptions struct {
	Secret     []byte                // what all nodes share; nil means that anybody who reaches the port is believed
	Epoch      func() uint64         // of this node's ring; nil means 0
	Deletes    func() uint64         // a digest of the deletes that this node has applied; nil means 0
	Now        func() time.Time      // nil means time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: the metrics count unseen
}

func (o ServerOptions) withDefaults() ServerOptions {
	if o.Epoch == nil {
		o.Epoch = func() uint64 { return 0 }
	}
	if o.Deletes == nil {
		o.Deletes = func() uint64 { return 0 }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server lets the requests of peers, and nobody else's, through to handlers. It is an [http.Handler].
type Server struct {
	o        ServerOptions
	mux      *http.ServeMux
	refused  *prometheus.CounterVec
	lastLine atomic.Int64 // when a stranger was last logged, Unix ns

	mu     sync.Mutex // guards what follows
	steady map[net.Conn]bool
	closed bool
}

// NewServer returns a server without handlers but that for [Client.Hello].
func NewServer(o ServerOptions) *Server {
	s := &Server{o: o.withDefaults(), mux: http.NewServeMux()}
	s.refused = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "minitrue_peer_refused_requests_total",
		Help: "Requests on the peer port that were refused before anybody looked into them, by reason.",
	}, []string{"reason"})
	s.mux.HandleFunc(pathHello, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return s
}

// Handle adds a handler that answers peers whatever their ring is.
func (s *Server) Handle(path string, h http.Handler) { s.mux.Handle(path, h) }

// HandleCurrent adds a handler that answers only peers whose ring is this node's and who have applied the same deletes; others get
// a 409, which is [ErrStale].
func (s *Server) HandleCurrent(path string, h http.Handler) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		theirs, ok := Epoch(r)
		if ours := s.o.Epoch(); !ok || theirs != ours {
			s.refused.WithLabelValues("epoch").Inc()
			RefuseStale(w, fmt.Sprintf("the request is for the ring %016x, this node knows %016x", theirs, ours))
			return
		}
		if theirs, ours := Deletes(r), s.o.Deletes(); theirs != ours {
			s.refused.WithLabelValues("deletes").Inc()
			RefuseStale(w, "one of the nodes has not yet heard of a delete that the other has applied")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.takeOver(w, r) {
		s.serve(w, r)
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(headerProtocol, strconv.Itoa(Protocol))
	if err := s.admit(r); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set(headerEpoch, formatEpoch(s.o.Epoch()))
	if s.o.Secret != nil {
		w.Header().Set(headerAuth, prove(s.o.Secret, r.Header.Get(headerNonce)))
	}
	s.mux.ServeHTTP(w, r)
}

// admit says whether a request is a peer's.
func (s *Server) admit(r *http.Request) error {
	switch version := r.Header.Get(headerProtocol); version {
	case strconv.Itoa(Protocol):
	case "":
		return &refusal{http.StatusBadRequest, "stranger", "this port is for the nodes of a cluster, and the request is from none"}
	default:
		return &refusal{http.StatusHTTPVersionNotSupported, "version",
			fmt.Sprintf("this node speaks version %d of the peer protocol and the sender version %.20q: upgrade the older of the two", Protocol, version)}
	}
	if s.o.Secret == nil {
		return nil
	}
	return authenticate(r, s.o.Secret, s.o.Now())
}

// refuse answers somebody who is not let in. One line a second is enough to see that there are strangers.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var no *refusal
	if !errors.As(err, &no) {
		no = &refusal{http.StatusInternalServerError, "error", err.Error()}
	}
	s.count(no.reason, no.text, "peer", Sender(r), "from", r.RemoteAddr, "path", r.URL.Path)
	if no.reason == reasonTime { // the signature is right
		ms := strconv.FormatInt(s.o.Now().UnixMilli(), 10)
		w.Header().Set(headerTime, ms)
		w.Header().Set(headerAuth, proveTime(s.o.Secret, r.Header.Get(headerNonce), ms))
	} else {
		w.Header().Set("Connection", "close") // a stranger holds none while he has nothing to ask
	}
	http.Error(w, no.text, no.code)
}

func (s *Server) count(reason, text string, args ...any) {
	s.refused.WithLabelValues(reason).Inc()
	now, last := s.o.Now().UnixNano(), s.lastLine.Load()
	if now-last >= int64(time.Second) && s.lastLine.CompareAndSwap(last, now) {
		s.o.Logger.Warn("refused a request on the peer port", append(args, "reason", reason, "err", text)...)
	}
}

// ErrorLog is for the [http.Server] that has this handler. Who has no certificate that counts does not come as far as a request: that
// is counted and logged like the refusals here, and all else is a debug message.
func (s *Server) ErrorLog() *log.Logger { return log.New(handshakes{s}, "", 0) }

// handshakes takes the lines that an [http.Server] logs.
type handshakes struct{ s *Server }

func (h handshakes) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if rest, ok := strings.CutPrefix(text, "http: TLS handshake error from "); ok {
		from, why, _ := strings.Cut(rest, ": ")
		h.s.count("tls", why, "from", from)
	} else {
		h.s.o.Logger.Debug(text)
	}
	return len(line), nil
}
