package peer

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Protocol is the major version of what nodes say to each other. Within one, nodes of different releases understand each other.
const Protocol = 1

// pathHello is where a node only says that it believes who asks.
const pathHello = "/peer/v1/hello"

const (
	headerProtocol = "X-Minitrue-Protocol"
	headerNode     = "X-Minitrue-Node"
	headerEpoch    = "X-Minitrue-Epoch"
	headerDeletes  = "X-Minitrue-Deletes"
	headerTime     = "X-Minitrue-Time"
	headerNonce    = "X-Minitrue-Nonce"
	headerBody     = "X-Minitrue-Body"
	headerAuth     = "X-Minitrue-Auth"
)

// replayWindow is how far the time of a request may be from that of the node which takes it. A sender whose clock is further away
// is told so, and reckons with the difference from then on.
const replayWindow = 5 * time.Minute

// ErrStale is what an error of a peer is whose ring is another one, or who has applied other deletes.
var ErrStale = errors.New("the nodes know different rings or deletes")

// A StatusError is an answer that is not 2xx.
type StatusError struct {
	Code int
	Text string // the answer's first words
	Peer string // name of the node that gave it
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("node %s answered %d: %s", e.Peer, e.Code, e.Text)
}

// Is makes a 409 an [ErrStale].
func (e *StatusError) Is(target error) bool {
	return target == ErrStale && e.Code == http.StatusConflict
}

// Epoch is the epoch of the ring by which the sender of a request speaks; ok is false when it says none.
func Epoch(r *http.Request) (epoch uint64, ok bool) {
	epoch, err := strconv.ParseUint(r.Header.Get(headerEpoch), 16, 64)
	return epoch, err == nil
}

// Sender is the id of the node that sent a request.
func Sender(r *http.Request) string { return r.Header.Get(headerNode) }

// RefuseStale answers that the request was meant for another ring. The sender gets an [ErrStale].
func RefuseStale(w http.ResponseWriter, why string) { http.Error(w, why, http.StatusConflict) }

// Deletes is the digest of the deletes that the sender of a request has applied; 0: none.
func Deletes(r *http.Request) uint64 {
	d, _ := strconv.ParseUint(r.Header.Get(headerDeletes), 16, 64)
	return d
}

func formatEpoch(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// stamp puts onto a request when it was sent and what is in it, and seals it all with the secret.
func stamp(r *http.Request, secret, body []byte, now time.Time) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	sum := sha256.Sum256(body)
	r.Header.Set(headerTime, strconv.FormatInt(now.UnixMilli(), 10))
	r.Header.Set(headerNonce, hex.EncodeToString(nonce[:]))
	r.Header.Set(headerBody, hex.EncodeToString(sum[:]))
	r.Header.Set(headerAuth, hex.EncodeToString(seal(secret, r)))
}

// seal is the MAC of a request.
func seal(secret []byte, r *http.Request) []byte {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "request\n%s\n%s\n", r.Method, r.URL.RequestURI())
	for _, h := range []string{headerProtocol, headerNode, headerEpoch, headerDeletes, headerTime, headerNonce, headerBody} {
		fmt.Fprintf(mac, "%s\n", r.Header.Get(h))
	}
	return mac.Sum(nil)
}

// prove is the MAC by which a server shows that it knows the secret. It fits one request.
func prove(secret []byte, nonce string) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "answer\n%s\n", nonce)
	return hex.EncodeToString(mac.Sum(nil))
}

// proveTime is prove for an answer that says what time it is.
func proveTime(secret []byte, nonce, ms string) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "time\n%s\n%s\n", nonce, ms)
	return hex.EncodeToString(mac.Sum(nil))
}

// peerTime is what time it is by an answer that proves it.
func peerTime(r *http.Request, resp *http.Response, secret []byte) (t time.Time, ok bool) {
	ms := resp.Header.Get(headerTime)
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || !hmac.Equal([]byte(resp.Header.Get(headerAuth)), []byte(proveTime(secret, r.Header.Get(headerNonce), ms))) {
		return t, false
	}
	return time.UnixMilli(n), true
}

// A refusal is why a stranger is kept out.
type refusal struct {
	code   int
	reason string // short and stable, for a metric
	text   string
}

func (e *refusal) Error() string { return e.text }

const reasonTime = "time"

// authenticate checks the seal of a request, and puts a reader before its body that knows what must be in it.
func authenticate(r *http.Request, secret []byte, now time.Time) error {
	refuse := func(reason, text string) error { return &refusal{http.StatusUnauthorized, reason, text} }
	auth, err := hex.DecodeString(r.Header.Get(headerAuth))
	if err != nil || len(auth) == 0 {
		return refuse("unsigned", "the request is not signed: give this node and the sender the same cluster key")
	}
	if !hmac.Equal(auth, seal(secret, r)) {
		return refuse("signature", "the signature is wrong: this node and the sender have different cluster keys, or the request was changed on its way")
	}
	ms, err := strconv.ParseInt(r.Header.Get(headerTime), 10, 64)
	if err != nil {
		return refuse("time", "the request does not say when it was sent")
	}
	if apart := now.Sub(time.UnixMilli(ms)); apart > replayWindow || apart < -replayWindow {
		return refuse(reasonTime, fmt.Sprintf("the request is from %s, and it is %s here: it was sent again, or the clocks of the nodes are more than %v apart",
			time.UnixMilli(ms).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), replayWindow))
	}
	if r.ContentLength < 0 {
		return refuse("body", "the request does not say how long it is")
	}
	return expectBody(r)
}
