package cluster

import (
	"slices"
	"sync"
	"time"
)

const (
	// Those who wait do not do so for longer than this, should the ones under way be held up.
	batchPatience = 20 * time.Millisecond
	// When several were served or wait as a round ends, as many come again soon, since most senders write on when they are answered.
	// Until they have, those who wait do so, but not for longer than this, and half of what a round takes: else those who come soon
	// would go in two rounds by turns, the first few and the others.
	batchLinger = time.Millisecond
)

// batcher lets those who come while others are served wait for the end of that, and go together then: many small ones cost as few rounds, and
// so syncs and wakeups, as a large one.
type batcher[T comparable] struct {
	size     func(T) int        // how much one is
	enough   int                // when so much waits, it does not wait for the others
	cut      func(list []T) int // how many of those who wait go together, the first of them
	serve    func(list []T)
	parallel int          // rounds under way
	spawn    func(func()) // starts a goroutine

	mu      sync.Mutex // guards what follows
	waiting []T
	amount  int // of waiting
	running int // rounds under way
	timer   *time.Timer
	crowd   int       // how many were served by the last round, or waited when it ended
	linger  time.Time // until when to wait for as many
}

// join has t served soon.
func (q *batcher[T]) join(t T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, t)
	q.amount += q.size(t)
	q.start(q.running == 0 && (len(q.waiting) >= q.crowd || !time.Now().Before(q.linger)) || q.amount >= q.enough)
}

// leave takes out who is not being served yet.
func (q *batcher[T]) leave(t T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, t)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.amount -= q.size(t)
	return true
}

// start begins a round with who waits, if now is true and there may be one more; else it sees to it that it begins soon. The
// caller holds mu.
func (q *batcher[T]) start(now bool) {
	if len(q.waiting) == 0 {
		return
	}
	if now && q.running < q.parallel {
		q.running++
		next := q.take()
		q.disarm()
		q.spawn(func() { q.run(next) })
	}
	if len(q.waiting) > 0 && q.timer == nil {
		patience := batchPatience
		if q.running == 0 {
			patience = time.Until(q.linger)
		}
		q.arm(patience)
	}
}

// arm lets a round begin later. The caller holds mu.
func (q *batcher[T]) arm(d time.Duration) {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.timer == t { // not disarmed while it waited for mu
			q.timer = nil
			q.start(true)
		}
	})
	q.timer = t
}

func (q *batcher[T]) disarm() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// take takes those who go together next. The caller holds mu.
func (q *batcher[T]) take() []T {
	n := q.cut(q.waiting)
	next := q.waiting[:n:n]
	for _, t := range next {
		q.amount -= q.size(t)
	}
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return next
}

// run serves some, and then sees to those who wait.
func (q *batcher[T]) run(list []T) {
	began := time.Now()
	q.serve(list)
	ended := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.crowd, q.linger = len(list)+len(q.waiting), ended.Add(min(batchLinger, ended.Sub(began)/2))
	q.disarm()
	q.start(len(q.waiting) >= q.crowd)
}
