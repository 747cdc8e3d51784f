package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// DeleteStore deletes on this node.
type DeleteStore interface {
	Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (series int, err error)
	DeleteOnce(ctx context.Context, id string, mint, maxt int64, ms ...*labels.Matcher) (series int, err error)
	ForgetDeletes(before int64) error // done before a time (Unix ms): their ids will not come again
}

// DeleteRecords are what the cluster knows of deletes: each node hears of each.
type DeleteRecords interface {
	View() *shard.View
	Changed() <-chan struct{} // closed when View or Others may have changed
	Put(records map[string][]byte) error
	Others() map[string][]byte
}

// DeleterOptions of a deleter. The zero value is usable.
type DeleterOptions struct {
	// Keep is how long a delete is remembered: a node that was away for longer gives back what was deleted. 0 means 30 days.
	Keep time.Duration
	// Apply calls its argument when no sample that was asked of a peer before can be stored behind it; nil means at once.
	Apply func(func() error) error
	// Patience is how long a write waits for a delete that its sender has applied; 0 means 3s. It is less than a sender waits.
	Patience time.Duration

	Now    func() time.Time // nil means time.Now
	Logger *slog.Logger     // nil discards
}

// Deleter deletes in the whole cluster. A delete is a record that all nodes hear of, those that are down when they are back, and that each applies
// once. Until a node has applied all that another knows of, the two do not answer each other's queries: so
// what was deleted does not come back from a replica that was away.
type Deleter struct {
	o       DeleterOptions
	store   DeleteStore
	records DeleteRecords
	client  *peer.Client

	applying sync.Mutex   // held while deletes are applied
	storing  sync.RWMutex // held while one is applied, and for reading from the look at what was deleted until a hint is stored
	mu       sync.Mutex   // guards what follows
	applied  map[string]deletion
	digest   series.Digest
	past     []uint64      // digests as they were, the last ones
	turned   chan struct{} // closed when the digest changes

	forgot int64 // when the store was last told to forget, Unix ms; Run's

	live     sync.RWMutex // held for reading while what is younger than newest is stored
	newest   atomic.Int64 // the time of the newest delete that is applied, or is about to be
	seen     atomic.Int64 // the time of the newest write that was stored here, see note
	caughtUp atomic.Bool  // all that was known when this node began is in applied
}

// pathDelete is where nodes are told of a delete without delay.
const pathDelete = "/peer/v1/delete"

// NewDeleter returns a deleter. Nothing is applied before Run.
func NewDeleter(s DeleteStore, records DeleteRecords, client *peer.Client, o DeleterOptions) *Deleter {
	if o.Keep == 0 {
		o.Keep = 30 * 24 * time.Hour
	}
	if o.Patience == 0 {
		o.Patience = 3 * time.Second
	}
	if o.Apply == nil {
		o.Apply = func(f func() error) error { return f() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Deleter{o: o, store: s, records: records, client: client, applied: map[string]deletion{}, turned: make(chan struct{})}
	d.newest.Store(math.MinInt64)
	return d
}

// Delete deletes the samples in [mint, maxt] (ms, inclusive) of the series that the matchers select, on all nodes, and returns how many series had
// any on this one. When it returns nil no query finds them any more; [series.ErrUnavailable] says that a node which is up did not
// confirm that: it is deleted all the same, there too before long.
func (d *Deleter) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (n int, err error) {
	if d.records.View().Alone() {
		n, err = d.store.Delete(ctx, mint, maxt, ms...)
		if err != nil || d.records.View().Alone() {
			return n, err
		} // others have come meanwhile, and may have copied what is deleted
	}
	if len(ms) == 0 || mint > maxt {
		return 0, errors.New("delete: it needs matchers, and a time range that is not empty")
	}
	x := deletion{Time: max(d.o.Now().UnixMilli(), d.Newest()+1, d.seen.Load()), MinTime: mint, MaxTime: maxt}
	for _, m := range ms {
		x.Matchers = append(x.Matchers, deleteMatcher{m.Type.String(), m.Name, m.Value})
	}
	value, err := json.Marshal(x)
	if err != nil {
		return 0, err
	}
	key := deletePrefix + uuid.NewString()
	if err := d.records.Put(map[string][]byte{key: value}); err != nil {
		return 0, fmt.Errorf("delete: %w: %w", series.ErrUnavailable, err)
	}
	k, err := d.apply(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete: %w", err)
	}
	return max(n, k), d.tell(ctx, d.records.View(), key, value)
}

// tell has all nodes that are up apply a delete.
func (d *Deleter) tell(ctx context.Context, v *shard.View, key string, value []byte) error {
	body, err := json.Marshal(map[string]json.RawMessage{key: value})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(v.Members))
	for i, m := range v.Members {
		if i == v.Self || !m.Up {
			continue
		}
		wg.Go(func() {
			resp, err := d.client.Post(ctx, m, pathDelete, body, nil)
			if err == nil {
				err = resp.Body.Close()
			}
			if err != nil {
				errs[i] = fmt.Errorf("node %s has not confirmed the delete: %w", m.Name, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete: %w: %w", series.ErrUnavailable, err)
	}
	return nil
}

// Register adds the handler by which other nodes tell of deletes.
func (d *Deleter) Register(s *peer.Server) {
	s.Handle(pathDelete, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		records := map[string]json.RawMessage{}
		if err == nil {
			err = json.Unmarshal(body, &records)
		}
		if err != nil {
			http.Error(w, "read deletes: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := d.hear(r.Context(), records); err != nil {
			d.o.Logger.Warn("could not apply a delete of another node", "peer", peer.Sender(r), "err", err)
			http.Error(w, err.Error(), statusOf(err))
		}
	}))
}

// hear applies deletes that another node tells of.
func (d *Deleter) hear(ctx context.Context, told map[string]json.RawMessage) error {
	known, fresh := d.records.Others(), map[string][]byte{}
	for key, value := range told {
		if _, ok := known[key]; ok {
			continue
		}
		if _, err := parseDeletion(key, value); err != nil {
			return &statusError{http.StatusBadRequest, err.Error()}
		}
		fresh[key] = value
	}
	if len(fresh) > 0 {
		if err := d.records.Put(fresh); err != nil {
			return err
		}
	}
	_, err := d.apply(ctx)
	return err
}

// apply applies all deletes that this node knows of and has not applied, and returns how many series had what they delete.
func (d *Deleter) apply(ctx context.Context) (n int, err error) {
	d.applying.Lock()
	defer d.applying.Unlock()
	records := d.records.Others()
	d.mu.Lock()
	for key := range d.applied {
		if records[key] == nil {
			delete(d.applied, key) // it is forgotten everywhere
			d.turn(d.digest.Minus(digestOf(key)))
		}
	}
	var due []string
	for key := range records {
		if _, ok := d.applied[key]; !ok {
			due = append(due, key)
		}
	}
	d.mu.Unlock()
	slices.Sort(due)
	for _, key := range due {
		x, err := parseDeletion(key, records[key])
		if err != nil {
			d.o.Logger.Error("a delete of the cluster is not understood; this node answers no other until it is: is it older than they are?", "err", err)
			return n, err
		}
		err = d.o.Apply(func() error {
			d.storing.Lock()
			defer d.storing.Unlock()
			d.overtake(x.Time)
			k, err := d.store.DeleteOnce(ctx, key, x.MinTime, x.MaxTime, x.ms...)
			if err == nil {
				n += k
				d.mu.Lock()
				d.applied[key] = x
				d.turn(d.digest.Plus(digestOf(key)))
				d.mu.Unlock()
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	d.caughtUp.Store(true)
	return n, nil
}

// Run applies what this node hears of, and forgets what is old, until the context ends.
func (d *Deleter) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changed := d.records.Changed()
		if _, err := d.apply(ctx); err != nil && ctx.Err() == nil {
			d.o.Logger.Warn("deletes could not be applied yet", "err", err)
		}
		d.forget()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

const forgetEvery = int64(time.Hour / time.Millisecond)

// forget takes back what is too old. When there are no records of it anywhere any more, the store need not know that it was done: as long as there is one
// here, it would do it again, to what was written since.
func (d *Deleter) forget() {
	now := d.o.Now().UnixMilli()
	old := map[string][]byte{}
	d.mu.Lock()
	for key, x := range d.applied {
		if x.Time < now-d.o.Keep.Milliseconds() {
			old[key] = nil
		}
	}
	d.mu.Unlock()
	if len(old) > 0 {
		if err := d.records.Put(old); err != nil {
			d.o.Logger.Warn("old deletes could not be forgotten", "err", err)
			return
		}
	}
	if now-d.forgot < forgetEvery || !d.caughtUp.Load() {
		return
	}
	if err := d.store.ForgetDeletes(now - 2*d.o.Keep.Milliseconds()); err != nil {
		d.o.Logger.Warn("the store does not forget old deletes", "err", err)
	}
	d.forgot = now
}
