package gossip

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// strangers are what memberlist says when somebody calls who does not belong here, and what it means.
var strangers = []struct{ has, reason, means string }{
	{"no installed keys could decrypt", "secret", "somebody with another secret calls: all nodes need the same --cluster-key-file"},
	{"Decrypt packet failed", "secret", "somebody with another secret, or none, calls: all nodes need the same --cluster-key-file"},
	{"remote state is not encrypted", "secret", "somebody without a secret calls: all nodes need the same --cluster-key-file"},
	{"encryption is not configured", "secret", "somebody with a secret calls, and this node has none: all nodes need the same --cluster-key-file"},
	{"unacceptable label", "label", "somebody with another label calls: it may be another kind of cluster"},
	{"label", "label", "somebody calls who speaks otherwise: it may be no node"},
	{errForeign.Error(), "cluster", "a node of another cluster calls"},
}

// bridge takes memberlist's log into that of the node. What strangers do is said in plain words, each once a minute at most, and
// counted; the rest is for those who look for faults in memberlist.
func bridge(to *slog.Logger, m *metrics) *log.Logger {
	return log.New(&bridgeWriter{to: to, metrics: m, said: map[string]time.Time{}}, "", 0)
}

type bridgeWriter struct {
	to      *slog.Logger
	metrics *metrics

	mu   sync.Mutex           // guards said
	said map[string]time.Time // by what was said
}

func (w *bridgeWriter) Write(b []byte) (int, error) {
	text := strings.TrimSpace(string(b))
	level, rest, _ := strings.Cut(text, " memberlist: ")
	if rest == "" {
		rest = text
	}
	if level != "[DEBUG]" {
		for _, s := range strangers {
			if strings.Contains(rest, s.has) {
				w.metrics.refused.WithLabelValues(s.reason).Inc()
				if w.first(s.means) {
					w.to.Warn(s.means, "reason", s.reason, "err", rest)
				}
				return len(b), nil
			}
		}
	}
	w.to.Debug("memberlist", "level", strings.Trim(level, "[]"), "text", rest)
	return len(b), nil
}

// first says whether something was not said in the last minute.
func (w *bridgeWriter) first(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(w.said[what]) < time.Minute {
		return false
	}
	w.said[what] = now
	return true
}
