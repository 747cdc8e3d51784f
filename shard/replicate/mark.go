package replicate

import (
	"context"
	"net/http"
)

// Header marks a write that another cluster has accepted and sends on. Its value is the name of the node that did.
const Header = "X-Minitrue-Replicated"

type marked struct{}

// Accept returns a handler that remembers in the request's context whether it carries [Header]. Who sets it without being another cluster has
// its own writes stored in this one alone, and nothing else.
func Accept(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(Header) != "" {
			r = r.WithContext(context.WithValue(r.Context(), marked{}, true))
		}
		h.ServeHTTP(w, r)
	})
}

func isMarked(ctx context.Context) bool { return ctx.Value(marked{}) != nil }
