package cluster

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// rounds are what a batcher of numbers serves, each its own size; a round ends when it is told to.
type rounds struct {
	batcher[int]
	begun chan []int
	end   chan struct{}
}

func newRounds(parallel int) *rounds {
	q := &rounds{begun: make(chan []int), end: make(chan struct{})}
	q.batcher = batcher[int]{
		size: func(n int) int { return n }, enough: 100, parallel: parallel, spawn: func(f func()) { go f() },
		cut: func(list []int) int { return min(4, len(list)) },
		serve: func(list []int) {
			q.begun <- slices.Clone(list)
			<-q.end
		},
	}
	return q
}

func (q *rounds) want(t *testing.T, list ...int) {
	t.Helper()
	if got := <-q.begun; !slices.Equal(got, list) {
		t.Fatalf("served together are %v, want %v", got, list)
	}
}

func TestBatcher(t *testing.T) {
	q := newRounds(1)
	q.join(1)
	q.want(t, 1)
	for n := 2; n <= 8; n++ {
		q.join(n)
	}
	if q.leave(1) {
		t.Fatal("what is being served has left")
	}
	if !q.leave(3) || q.leave(3) {
		t.Fatal("what waits leaves once")
	}
	q.end <- struct{}{}
	q.want(t, 2, 4, 5, 6) // as many as go together
	q.end <- struct{}{}
	q.want(t, 7, 8) // fewer than last time: they do not wait for ever
	q.end <- struct{}{}
}

// A round that is held up holds up nobody for long, and those who are many not at all.
func TestBatcherDoesNotWait(t *testing.T) {
	q := newRounds(3)
	q.join(1)
	q.want(t, 1)
	q.join(2)
	q.want(t, 2) // after a while
	q.join(3)
	q.join(100)
	q.want(t, 3, 100)
	q.join(200)
	for range 3 {
		q.end <- struct{}{}
	}
	q.want(t, 200)
	q.end <- struct{}{}
}

// Whoever joins is served once, or has left.
func TestBatcherServesEachOnce(t *testing.T) {
	const workers, each = 8, 500
	var mu sync.Mutex
	served, left := map[int]int{}, map[int]bool{}
	var over sync.WaitGroup // everybody is served or has left
	over.Add(workers * each)
	q := &batcher[int]{
		size: func(int) int { return 1 }, enough: 20, parallel: 3, spawn: func(f func()) { go f() },
		cut: func(list []int) int { return min(1+len(list)/2, len(list)) },
		serve: func(list []int) {
			mu.Lock()
			defer mu.Unlock()
			for _, n := range list {
				served[n]++
				over.Done()
			}
		},
	}
	for w := range workers {
		go func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			for i := range each {
				n := w*each + i
				q.join(n)
				if r.IntN(3) == 0 && q.leave(n) {
					mu.Lock()
					left[n] = true
					mu.Unlock()
					over.Done()
				}
			}
		}()
	}
	over.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	mu.Lock()
	defer mu.Unlock()
	if len(q.waiting) > 0 || q.amount != 0 {
		t.Errorf("%d wait, of the size %d", len(q.waiting), q.amount)
	}
	for n := range workers * each {
		if served[n] > 1 || (served[n] == 1) == left[n] {
			t.Errorf("%d is served %d times, and has left: %v", n, served[n], left[n])
		}
	}
	if len(left) == 0 {
		t.Error("nobody has left: the test tests too little")
	}
}
