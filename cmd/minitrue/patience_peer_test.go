package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/minitrue/minitrue/shard/peer"
)

// wantHungUp sends the head of a request whose body never comes, and checks that the server ends the connection.
func wantHungUp(t *testing.T, addr, head string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, head); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.40q: the connection is held: %v", head, err)
	}
}

// A body that nobody wants is read to its end before the answer goes, so that the connection can serve another request: who
// does not send it gets no answer and holds nothing.
func TestUnwantedBodyThatDoesNotCome(t *testing.T) {
	addr, _ := patientDoor(t, 300*time.Millisecond, 0)
	for _, path := range []string{"/-/healthy", "/metrics", "/nowhere"} {
		wantHungUp(t, addr, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	}
}

// Strangers cannot hold connections of the port for other nodes, and neither can a node that stops in the middle of what it sends.
func TestPeerBodyThatDoesNotCome(t *testing.T) {
	for _, secret := range [][]byte{nil, []byte("a secret of all nodes")} {
		door := peer.NewServer(peer.ServerOptions{Secret: secret})
		door.Handle("/peer/v1/read", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := peerServer(door, 300*time.Millisecond)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		for _, head := range []string{
			"POST /peer/v1/read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
			"POST /peer/v1/read HTTP/1.1\r\nHost: x\r\nX-Minitrue-Protocol: 1\r\nContent-Length: 1000\r\n\r\nsome",
			"POST /peer/v1/unknown HTTP/1.1\r\nHost: x\r\nX-Minitrue-Protocol: 1\r\nContent-Length: 1000\r\n\r\nsome",
		} {
			wantHungUp(t, l.Addr().String(), head)
		}
	}
}

// A stranger without a password holds no connection by a body that does not come.
func TestStrangersBodyThatDoesNotCome(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "basic_auth_users:\n  me: %s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := patientDoorWith(t, config, 300*time.Millisecond, 0)
	wantHungUp(t, addr, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
}
