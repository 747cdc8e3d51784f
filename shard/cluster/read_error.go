package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// unanswered is the error of a query that too few owners of some partitions have answered.
type unanswered struct {
	partitions int
	missing    []string // names of nodes
	cause      error    // of one of them; nil: they are down
	stale      bool     // nodes knew different rings
	strict     bool     // others may be asked another question
}

func (e *unanswered) Error() string {
	s := fmt.Sprintf("read: too few replicas of %d of %d partitions answer", e.partitions, shard.Partitions)
	if len(e.missing) > 0 {
		s += ", missing: " + strings.Join(e.missing, ", ")
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unavailable says that the same question may be answered later.
func (e *unanswered) Unavailable() bool { return true }

func (e *unanswered) Unwrap() error { return series.ErrUnavailable }

// isStale says whether an error comes from nodes that know different rings.
func isStale(err error) bool {
	var e *unanswered
	return errors.As(err, &e) && e.stale
}

// fatal says of the error of a node that all others would answer with it, too.
func fatal(err error) bool {
	var much *tooMuch
	return refused(err) || errors.As(err, &much)
}

// refused says whether a node found fault with the question.
func refused(err error) bool {
	var status *peer.StatusError
	return errors.As(err, &status) && status.Code >= 400 && status.Code < 500 && !retryable(status.Code)
}

func retryable(code int) bool {
	switch code {
	case 401, 403, 404, 408, 409, 429: // of this node alone
		return true
	}
	return false
}

type partialKey struct{}

// notes is where what a partial answer lacks is noted.
type notes struct {
	mu    sync.Mutex // guards names
	names []string
}

// AllowPartial returns a context whose queries are answered although nodes are missing; Missing says then which.
func AllowPartial(ctx context.Context) context.Context {
	return context.WithValue(ctx, partialKey{}, &notes{})
}

func allowsPartial(ctx context.Context) bool {
	_, ok := ctx.Value(partialKey{}).(*notes)
	return ok
}

// Missing returns the names of the nodes that answers given in a context of AllowPartial lack, sorted.
func Missing(ctx context.Context) []string {
	n, ok := ctx.Value(partialKey{}).(*notes)
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.names)
}

// lost collects what the answer to a query lacks.
type lost struct {
	v       *shard.View
	allowed bool

	mu    sync.Mutex // guards what follows
	parts shard.Set
	nodes [shard.MaxNodes]bool
}

func newLost(v *shard.View, allowed bool) *lost { return &lost{v: v, allowed: allowed} }

// add notes partitions that too few of their owners have answered for, and these.
func (l *lost) add(parts *shard.Set, nodes []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts.Union(parts)
	for _, n := range nodes {
		l.nodes[n] = true
	}
}

// names are those of the missing nodes, sorted.
func (l *lost) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for i, is := range l.nodes {
		if is {
			all = append(all, nameOf(l.v, i))
		}
	}
	slices.Sort(all)
	return all
}

// warning is what a partial answer says of itself, nil when it is whole.
func (l *lost) warning() error {
	names := l.names()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.parts.Len()
	if n == 0 {
		return nil
	}
	return fmt.Errorf("the answer is partial: too few replicas of %d of %d partitions answer, missing: %s", n, shard.Partitions, strings.Join(names, ", "))
}

// report tells the context of the query.
func (l *lost) report(ctx context.Context) {
	n, ok := ctx.Value(partialKey{}).(*notes)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range l.names() {
		if i, found := slices.BinarySearch(n.names, name); !found {
			n.names = slices.Insert(n.names, i, name)
		}
	}
}

// nameOf is what people call a node.
func nameOf(v *shard.View, i int) string {
	if m := v.Members[i]; m.Name != "" {
		return m.Name
	}
	return v.Members[i].ID
}
