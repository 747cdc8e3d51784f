package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// slate is a store in which a delete removes what is there at the moment.
type slate struct {
	mu      sync.Mutex // guards samples
	samples int
	fail    error
	deleted chan struct{} // gets a token for each delete
	forgot  int64         // before when deletes are forgotten
}

func (s *slate) ForgetDeletes(before int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgot = before
	return nil
}

func (s *slate) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (int, error) {
	return s.DeleteOnce(ctx, "", mint, maxt, ms...)
}

func (s *slate) DeleteOnce(context.Context, string, int64, int64, ...*labels.Matcher) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	s.samples = 0
	s.deleted <- struct{}{}
	return 1, nil
}

func (s *slate) store(b *series.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range b.Series {
		s.samples += e.Count
	}
}

// book is a cluster of two, one of which is down, with the records of one.
type book struct {
	view *shard.View

	mu      sync.Mutex // guards records
	records map[string][]byte
}

func (b *book) View() *shard.View        { return b.view }
func (b *book) Changed() <-chan struct{} { return nil }

func (b *book) Put(records map[string][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, v := range records {
		b.records[k] = v
	}
	return nil
}

func (b *book) Others() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string][]byte{}
	for k, v := range b.records {
		out[k] = v
	}
	return out
}

// hintOf is what waits for a node: one sample.
func hintOf() *series.Batch {
	var b series.Batch
	b.Series = append(b.Series, series.Entry{Key: series.AppendKey(nil, labels.FromStrings("__name__", "m")), Count: 1})
	b.Samples = append(b.Samples, series.Sample{T: 1, V: 1})
	return &b
}

// deleteOfM is a record of a delete of all of m.
func deleteOfM(at int64) []byte {
	return fmt.Appendf(nil, `{"time":%d,"mint":0,"maxt":10,"matchers":[{"type":"=","name":"__name__","value":"m"}]}`, at)
}

// A node that has started anew knows what was deleted before it stores the first hint, and stores none while it cannot find out.
func TestDeleteIsKnownAfterRestart(t *testing.T) {
	s := &slate{deleted: make(chan struct{}, 10)}
	records := &book{view: &shard.View{Self: 0, Members: make([]shard.Member, 2)}, records: map[string][]byte{"delete/1": deleteOfM(100)}}
	d := NewDeleter(s, records, peer.NewClient(peer.ClientOptions{}), DeleterOptions{})
	s.fail = errDisk
	late := hintOf()
	store := func() error { s.store(late); return nil }
	if err := d.Deleted(context.Background(), late, 50, store); !errors.Is(err, series.ErrUnavailable) || s.samples != 0 {
		t.Errorf("while deletes cannot be applied a hint is answered %v, and %d samples are stored", err, s.samples)
	}
	s.fail = nil
	if err := d.Deleted(context.Background(), late, 50, store); err != nil || s.samples != 0 {
		t.Errorf("a hint from before the delete: %v, %d samples are stored", err, s.samples)
	}
	late = hintOf()
	if err := d.Deleted(context.Background(), late, 150, store); err != nil || s.samples != 1 {
		t.Errorf("a hint from after the delete: %v, %d samples are stored", err, s.samples)
	}
}

// A hint that is being stored when a delete comes is stored before it, and deleted; one that comes later is not stored.
func TestDeleteWaitsForHints(t *testing.T) {
	s := &slate{deleted: make(chan struct{}, 10)}
	records := &book{view: &shard.View{Self: 0, Members: make([]shard.Member, 2)}, records: map[string][]byte{}}
	d := NewDeleter(s, records, peer.NewClient(peer.ClientOptions{}), DeleterOptions{Now: func() time.Time { return time.UnixMilli(100) }})
	ended := make(chan error, 1)
	err := d.Deleted(context.Background(), hintOf(), 50, func() error {
		go func() {
			_, err := d.Delete(context.Background(), 0, 10, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
			ended <- err
		}()
		until(t, "the delete is recorded", func() bool { return len(records.Others()) == 1 })
		select {
		case <-s.deleted:
			return errors.New("the delete is applied while a hint is being stored")
		case <-time.After(50 * time.Millisecond):
		}
		s.store(hintOf())
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for written, want := range map[int64]int{50: 0, 150: 1} {
		late := hintOf()
		if err := d.Deleted(context.Background(), late, written, func() error { s.store(late); return nil }); err != nil {
			t.Error(err)
		}
		if s.samples != want {
			t.Errorf("after the delete and a hint of %d there are %d samples, want %d", written, s.samples, want)
		}
		s.samples = 0
	}
}

// shifting is a store during whose first delete something happens.
type shifting struct {
	slate
	meanwhile func()
}

func (s *shifting) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (int, error) {
	s.meanwhile()
	return s.slate.Delete(ctx, mint, maxt, ms...)
}

// A node that is alone deletes, which may take long, and meanwhile others come, who may have copied what is deleted: they hear of it.
func TestDeleteWhileOthersCome(t *testing.T) {
	two := &shard.View{Self: 0, Members: make([]shard.Member, 2)}
	records := &book{view: &shard.View{Self: 0, Members: make([]shard.Member, 1)}, records: map[string][]byte{}}
	s := &shifting{slate{deleted: make(chan struct{}, 10)}, func() { records.view = two }}
	d := NewDeleter(s, records, peer.NewClient(peer.ClientOptions{}), DeleterOptions{})
	if n, err := d.Delete(t.Context(), 0, 10, deletions(t, deleteOfM(0)).ms...); err != nil || n != 1 {
		t.Errorf("%d series: %v", n, err)
	}
	if len(records.Others()) != 1 {
		t.Error("nobody else hears of the delete")
	}
}

// That a delete was done is forgotten when its record is long gone, not before.
func TestStoreForgetsDeletes(t *testing.T) {
	now := time.Now()
	s := &slate{deleted: make(chan struct{}, 10)}
	records := &book{view: &shard.View{}, records: map[string][]byte{"delete/1": deleteOfM(now.UnixMilli())}}
	d := NewDeleter(s, records, nil, DeleterOptions{Keep: 24 * time.Hour, Now: func() time.Time { return now }})
	if err := d.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := now.UnixMilli()
	for _, row := range []struct {
		days      int
		taken, in bool // the record is taken back; the store forgets
	}{{0, false, false}, {1, true, false}, {1, true, true}} {
		now = now.Add(time.Duration(row.days)*24*time.Hour + time.Minute*time.Duration(row.days)/2)
		d.forget()
		if taken := records.records["delete/1"] == nil; taken != row.taken || s.forgot > done != row.in {
			t.Errorf("%v after the delete: its record is taken back: %v, and the store forgets what is %d ms older than it", now.Sub(time.UnixMilli(done)), taken, done-s.forgot)
		}
	}
}

// fullBook are records that cannot be written.
type fullBook struct{ book }

func (b *fullBook) Put(map[string][]byte) error { return errDisk }

// A node that was away for very long has the record of a delete that it did before. The store does not forget that as long as the record cannot be taken
// back: when the node begins anew it would do it again.
func TestStoreRemembersDeletesOfRecords(t *testing.T) {
	now := time.Now()
	s := &slate{deleted: make(chan struct{}, 10)}
	records := &fullBook{book{view: &shard.View{}, records: map[string][]byte{"delete/1": deleteOfM(now.UnixMilli())}}}
	d := NewDeleter(s, records, nil, DeleterOptions{Now: func() time.Time { return now.Add(100 * 24 * time.Hour) }})
	if err := d.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.forget(); s.forgot > now.UnixMilli() {
		t.Error("the store forgets a delete whose record is still there")
	}
}
