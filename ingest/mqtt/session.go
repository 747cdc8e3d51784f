package mqtt

import "sync"

// sessions remember, by client id, which messages of quality 2 have been stored and
// not yet released, so that one sent again is not stored again, and the order of those that the
// client has to acknowledge. They live as long as the library's own session of that client.
type sessions struct {
	mu   sync.Mutex // guards byID
	byID map[string]*session
}

// attach returns the client's session, a new one when it wants a clean start.
func (s *sessions) attach(id string, clean bool) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byID[id]; old != nil && !clean {
		return old
	}
	n := &session{}
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
	if old == nil || s.byID[id] == old {
		delete(s.byID, id)
	}
}

type session struct {
	mu   sync.Mutex // guards what follows
	ids  map[uint16]*receipt
	owed map[uint16]uint64 // what the client has to acknowledge: a number that grows with each message
	last uint64
}

// owe notes that a message to the client is on its way, and settle that it is finished.
func (s *session) owe(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed == nil {
		s.owed = map[uint16]uint64{}
	}
	s.last++
	s.owed[id] = s.last
}

func (s *session) settle(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owed, id)
}

// order sorts messages to the client as they came.
func (s *session) order(id uint16) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owed[id]
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
	case old == nil && len(s.ids) >= limit:
		return full, nil
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
		delete(s.ids, id)
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
	delete(s.ids, id)
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
		delete(s.ids, id)
	default:
		r.released = true
	}
	return r != nil
}
