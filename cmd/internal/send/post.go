package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// answer is what a target said to a request.
type answer struct {
	code    int
	text    string
	written *counts       // nil when the target does not say
	wait    time.Duration // what it asks for
}

func (a answer) err(url string) error {
	return fmt.Errorf("%s answers %d %s: %s", url, a.code, http.StatusText(a.code), a.text)
}

const writtenHeader = "X-Prometheus-Remote-Write-"

// once sends a body once. The error is that of the network.
func (s *Sender) once(ctx context.Context, body []byte, v2 bool) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	h := req.Header
	h.Set("User-Agent", "minitruectl")
	h.Set("Content-Encoding", "snappy")
	h.Set("Content-Type", "application/x-protobuf")
	h.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	if v2 {
		h.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		h.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return answer{}, err
	}
	a := answer{code: resp.StatusCode, text: string(bytes.TrimSpace(text)), wait: retryAfter(resp.Header.Get("Retry-After"), s.o.Now())}
	if n, err := strconv.Atoi(resp.Header.Get(writtenHeader + "Samples-Written")); err == nil {
		a.written = &counts{samples: n}
		a.written.histograms, _ = strconv.Atoi(resp.Header.Get(writtenHeader + "Histograms-Written"))
		a.written.exemplars, _ = strconv.Atoi(resp.Header.Get(writtenHeader + "Exemplars-Written"))
	}
	return a, nil
}

const longestWait = 5 * time.Minute // whatever a target asks for

// retryAfter is what the header says, in seconds or as a date (RFC 9110, 10.2.3).
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	d := time.Duration(0)
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(n, 3600)) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longestWait)
}

// ErrGaveUp is of a target that did not take a batch for as long as Options.Patience.
var ErrGaveUp = errors.New("the target takes nothing")

// deliver sends a batch until it is answered for good, in whatever protocol the target speaks.
func (s *Sender) deliver(ctx context.Context, e *encoder, b *batch) error {
	begin, pause := s.o.Now(), s.o.FirstPause
	for {
		v2 := s.speaks2()
		packed, err := e.pack(b, v2)
		if err != nil {
			return err
		}
		a, err := s.once(ctx, packed, v2)
		if err == nil && !again(a.code) {
			done, err := s.settle(ctx, e, b, a, v2)
			if done || err != nil {
				return err
			}
			continue // in the other protocol
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			err = a.err(s.o.URL)
		}
		if s.o.Now().Sub(begin) > s.o.Patience {
			return fmt.Errorf("%w for %s: %w", ErrGaveUp, s.o.Patience, err)
		}
		s.retried(err)
		wait := max(a.wait, pause/2+rand.N(pause/2+1))
		if err := s.o.Sleep(ctx, wait); err != nil {
			return err
		}
		pause = min(2*pause, 30*time.Second)
	}
}

func again(code int) bool { return code == http.StatusTooManyRequests || code/100 == 5 }

// settle decides on an answer that is not to be waited for. It returns false when the batch shall be sent again at once.
func (s *Sender) settle(ctx context.Context, e *encoder, b *batch, a answer, v2 bool) (done bool, err error) {
	if v2 && s.fallBack(a) {
		return false, nil
	}
	switch {
	case a.code/100 == 2 && !v2:
		s.count(b.counts, b.counts, "")
	case a.code/100 == 2 && a.written == nil: // it found nothing that it knew in the body, or something between changes versions
		return false, fmt.Errorf("%s answers %d to remote_write 2.0, and not how much it wrote: it may have stored nothing; send 1.0", s.o.URL, a.code)
	case a.code/100 == 2:
		s.count(b.counts, *a.written, "the target says that it wrote less than it got")
	case a.code == http.StatusBadRequest:
		if a.written == nil {
			a.written = &counts{}
		}
		s.count(b.counts, *a.written, a.text)
	case a.code == http.StatusRequestEntityTooLarge:
		x, y, ok := b.halves()
		if !ok {
			s.count(b.counts, counts{}, a.text)
			return true, nil
		}
		if err := s.deliver(ctx, e, x); err != nil {
			return false, err
		}
		return true, s.deliver(ctx, e, y)
	default:
		return false, fmt.Errorf("%w: check the URL and its credentials", a.err(s.o.URL))
	}
	return true, nil
}
