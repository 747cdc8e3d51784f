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
	ids  map[uint16]receipt
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

// begin registers a message that has come over a connection.
func (s *session) begin(id uint16, sum uint64, c *conn, limit int) receiptState {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.ids[id]
	switch {
	case ok && r.sum == sum && r.stored:
		return stored
	case ok && r.sum == sum:
		r.to = c
		s.ids[id] = r
		return queued
	case !ok && len(s.ids) >= limit:
		return full
	}
	if s.ids == nil {
		s.ids = map[uint16]receipt{}
	}
	s.ids[id] = receipt{sum: sum, to: c}
	return fresh
}

// commit marks a message as stored and says who waits for it.
func (s *session) commit(id uint16) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ids[id]
	if r.released {
		delete(s.ids, id)
		return r.to
	}
	s.ids[id] = receipt{sum: r.sum, stored: true}
	return r.to
}

// abort forgets a message that was not stored, and says who waited for it.
func (s *session) abort(id uint16) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ids[id]
	delete(s.ids, id)
	return r.to
}

// release ends a message; it returns false when there is none of this id.
func (s *session) release(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.ids[id]
	switch {
	case !ok:
	case r.stored:
		delete(s.ids, id)
	default:
		r.released = true
		s.ids[id] = r
	}
	return ok
}
