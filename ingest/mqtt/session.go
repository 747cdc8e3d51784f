package mqtt

import (
	"sync"
	"sync/atomic"
)

// sessions remember, by client id, which messages of quality 2 have been stored and
// not yet released, so that one sent again is not stored again, and the order of those that the
// client has to acknowledge. They live as long as the library's own session of that client.
type sessions struct {
	maxReceipts int64 // in all of them; then each may have a few
	maxKept     int64 // bytes of messages to clients in all of them; then each may have a little
	receipts    atomic.Int64
	kept        atomic.Int64

	mu   sync.Mutex // guards byID
	byID map[string]*session
}

const (
	receiptShare = 16         // receipts that a session may have in any case
	keptMost     = maxOut / 2 // bytes of messages that a session may have: when it goes on, all of them are sent at once
	keptShare    = 16 << 10   // in any case
	keptOverhead = 1 << 10    // of a message, about
)

// attach returns the client's session, a new one when it wants a clean start.
func (s *sessions) attach(id string, clean bool) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byID[id]; old != nil && !clean {
		return old
	}
	if old := s.byID[id]; old != nil {
		old.end()
	}
	n := &session{all: s}
	if s.byID == nil {
		s.byID = map[string]*session{}
	}
	s.byID[id] = n
	return n
}

// drop forgets a session, unless a newer one has taken its place.
func (s *sessions) drop(id string, old *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old == nil {
		old = s.byID[id]
	}
	if old != nil && s.byID[id] == old {
		delete(s.byID, id)
		old.end()
	}
}

type session struct {
	all *sessions

	mu    sync.Mutex // guards what follows
	ended bool
	ids   map[uint16]*receipt
	owed  map[uint16]debt // what the client has to acknowledge
	last  uint64
	kept  int64 // bytes of owed
}

type debt struct {
	order uint64 // grows with each message
	bytes int64
}

// owe notes that a message to the client is on its way, and settle that it is finished. It returns false when there is no room to keep it.
func (s *session) owe(id uint16, bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgive(id)
	n := int64(bytes) + keptOverhead
	if over := s.all.kept.Load()+n > s.all.maxKept; s.ended || s.kept > 0 && (s.kept+n > keptMost || over && s.kept+n > keptShare) {
		return false
	}
	if s.owed == nil {
		s.owed = map[uint16]debt{}
	}
	s.last++
	s.owed[id] = debt{s.last, n}
	s.add(n)
	return true
}

func (s *session) settle(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgive(id)
}

// forgive is settle with mu held.
func (s *session) forgive(id uint16) {
	if d, ok := s.owed[id]; ok {
		delete(s.owed, id)
		s.add(-d.bytes)
	}
}

func (s *session) add(bytes int64) {
	s.kept += bytes
	s.all.kept.Add(bytes)
}

// sweep forgives what there is no message of any more.
func (s *session) sweep(is func(id uint16) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owed) <= 2*maxInflight {
		return
	}
	for id := range s.owed {
		if !is(id) {
			s.forgive(id)
		}
	}
}

// end gives back what the session takes of what all may have.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.add(-s.kept)
	s.all.receipts.Add(-int64(len(s.ids)))
	s.owed, s.ids = nil, nil
}

// forget forgets a receipt, with mu held.
func (s *session) forget(id uint16) {
	delete(s.ids, id)
	s.all.receipts.Add(-1)
}

// order sorts messages to the client as they came.
func (s *session) order(id uint16) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owed[id].order
}

// receipt is the state of one message of quality 2.
type receipt struct {
	sum      uint64 // of the message: a client that has lost its state starts over with other messages
	to       *conn  // who gets the PUBREC when the message is stored
	stored   bool
	released bool // before it was stored, against the protocol
}

type receiptState int

const (
	fresh  receiptState = iota // store it
	queued                     // it is on its way already
	stored                     // PUBREC again
	full                       // too many are unreleased
)

// begin registers a message that has come over a connection. The receipt is that of a fresh one: who has it says by it what became of the
// message, because the client may use the id for another one meanwhile.
func (s *session) begin(id uint16, sum uint64, c *conn, limit int) (receiptState, *receipt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.ids[id]
	switch {
	case old != nil && old.sum == sum && old.stored:
		return stored, nil
	case old != nil && old.sum == sum:
		old.to = c
		return queued, nil
	case s.ended, old == nil && (len(s.ids) >= limit || len(s.ids) >= receiptShare && s.all.receipts.Load() >= s.all.maxReceipts):
		return full, nil
	}
	if old == nil {
		s.all.receipts.Add(1)
	}
	if s.ids == nil {
		s.ids = map[uint16]*receipt{}
	}
	r := &receipt{sum: sum, to: c}
	s.ids[id] = r
	return fresh, r
}

// commit marks a message as stored and says who waits for it: nobody when another one has taken its id.
func (s *session) commit(id uint16, r *receipt) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] != r {
		return nil
	}
	to := r.to
	r.to, r.stored = nil, true
	if r.released {
		s.forget(id)
	}
	return to
}

// abort forgets a message that was not stored, and says who waited for it, as commit does.
func (s *session) abort(id uint16, r *receipt) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[id] != r {
		return nil
	}
	s.forget(id)
	return r.to
}

// release ends a message; it returns false when there is none of this id.
func (s *session) release(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ids[id]
	switch {
	case r == nil:
	case r.stored:
		s.forget(id)
	default:
		r.released = true
	}
	return r != nil
}
