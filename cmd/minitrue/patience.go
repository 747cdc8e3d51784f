package main

import (
	"io"
	"net/http"
	"time"
)

const (
	bodyPatience = 30 * time.Second // until a body has come, beside what its length takes
	bodyRate     = 32 << 10         // bytes a second that a sender makes at least
)

// patient gives a request's body so much time to come: what a request holds until then, room for others among it, nobody holds for ever who does not send. The
// time begins with the first look at the body, and the rest of the request has no limit. Of a body at which no handler looks the server reads some before
// it answers, also where a stranger is refused: for that the server's ReadTimeout is there, which is as long.
func patient(w http.ResponseWriter, r *http.Request, patience time.Duration) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &patientBody{ReadCloser: r.Body, conn: http.NewResponseController(w), patience: patience}
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // as far as the connection can have one
}

type patientBody struct {
	io.ReadCloser
	conn     *http.ResponseController
	patience time.Duration
	began    time.Time
	came     int64
}

func (b *patientBody) Read(p []byte) (int, error) {
	if b.began.IsZero() {
		b.began = time.Now()
	}
	_ = b.conn.SetReadDeadline(b.began.Add(b.patience + time.Duration(b.came)*time.Second/bodyRate))
	n, err := b.ReadCloser.Read(p)
	if b.came += int64(n); err == io.EOF {
		_ = b.conn.SetReadDeadline(time.Time{}) // from now on is read only to see whether the client is there
	}
	return n, err
}
