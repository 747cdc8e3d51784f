package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
)

var errBody = errors.New("the body is not the one that was signed")

// expectBody makes the body of a request one that fails unless it has the hash that the request was signed with.
func expectBody(r *http.Request) error {
	want, err := hex.DecodeString(r.Header.Get(headerBody))
	if err != nil || len(want) != sha256.Size {
		return &refusal{http.StatusUnauthorized, "body", "the request does not say what is in it"}
	}
	b := &signedBody{from: r.Body, left: r.ContentLength, sum: sha256.New(), want: want}
	r.Body = b
	if b.left == 0 && !b.good() {
		return &refusal{http.StatusUnauthorized, "body", errBody.Error()}
	}
	return nil
}

// signedBody checks a body while it is read: the last byte is handed out only when all of them are as they were signed.
type signedBody struct {
	from io.ReadCloser
	left int64
	sum  hash.Hash
	want []byte
	err  error
}

func (b *signedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.sum.Write(p[:n])
	b.left -= int64(n)
	switch {
	case b.left == 0 && !b.good():
		clear(p[:n])
		n, b.err = 0, errBody
	case b.left == 0:
		b.err = io.EOF
	case errors.Is(err, io.EOF):
		b.err = io.ErrUnexpectedEOF
	case err != nil:
		b.err = err
	}
	return n, b.err
}

func (b *signedBody) good() bool { return string(b.sum.Sum(nil)) == string(b.want) }

func (b *signedBody) Close() error { return b.from.Close() }
