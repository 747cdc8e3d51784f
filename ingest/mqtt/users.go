package mqtt

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// User may connect, publish and subscribe.
type User struct {
	Name      string
	Hash      string   // of the password, by bcrypt
	Publish   []string // topic filters that the user may publish to; empty means all
	Subscribe []string // topic filters that the user may subscribe to; empty means all
}

// mayPublish and maySubscribe say what a user is allowed. The nil user, of a broker without users, may do anything.
func (u *User) mayPublish(topic string) bool    { return u == nil || anyCovers(u.Publish, topic) }
func (u *User) maySubscribe(filter string) bool { return u == nil || anyCovers(u.Subscribe, filter) }

func anyCovers(allowed []string, asked string) bool {
	for _, f := range allowed {
		if covers(f, asked) {
			return true
		}
	}
	return len(allowed) == 0
}

// users check passwords. bcrypt is slow on purpose, so that few run at once, and a password that was
// right is remembered by a hash with a salt of this process.
type users struct {
	byName map[string]*User
	salt   [16]byte
	slots  chan struct{}

	mu    sync.Mutex // guards known
	known map[string][sha256.Size]byte
}

// unknown is compared with the password of a user that does not exist, so that both take the same time.
const unknown = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5B0qX1eJ0JPDk2Pz0YpQ0JrL8e6Hy"

func newUsers(list []User) *users {
	u := &users{byName: map[string]*User{}, slots: make(chan struct{}, 2), known: map[string][sha256.Size]byte{}}
	_, _ = rand.Read(u.salt[:]) // never fails
	for i := range list {
		u.byName[list[i].Name] = &list[i]
	}
	return u
}

// login returns the user, nil where there are no users, and whether the client may connect.
func (u *users) login(name string, password []byte) (*User, bool) {
	if len(u.byName) == 0 {
		return nil, true
	}
	user := u.byName[name]
	sum := sha256.Sum256(append(u.salt[:len(u.salt):len(u.salt)], password...))
	u.mu.Lock()
	known, ok := u.known[name]
	u.mu.Unlock()
	if ok && known == sum {
		return user, true
	}
	hash := unknown
	if user != nil {
		hash = user.Hash
	}
	u.slots <- struct{}{}
	err := bcrypt.CompareHashAndPassword([]byte(hash), password)
	<-u.slots
	if err != nil || user == nil {
		return nil, false
	}
	u.mu.Lock()
	u.known[name] = sum
	u.mu.Unlock()
	return user, true
}
