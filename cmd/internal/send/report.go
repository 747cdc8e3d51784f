package send

import "net/http"

// speaks2 reports whether to send 2.0: yes until the target turns out not to speak it.
func (s *Sender) speaks2() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.one
}

// fallBack reports whether an answer to a 2.0 request says that the target speaks 1.0 alone: it refuses the media type, or
// it answers without the counts that 2.0 has, because it found nothing that it knew in the body.
func (s *Sender) fallBack(a answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.written != nil {
		s.sure = true
	}
	if s.sure || a.code != http.StatusUnsupportedMediaType && a.code/100 != 2 && a.code != http.StatusBadRequest {
		return false
	}
	s.one = true
	return true
}

const maxReasons = 5 // people read no more

// count notes what became of a batch.
func (s *Sender) count(sent, written counts, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.report
	r.Requests++
	written.samples = min(max(written.samples, 0), sent.samples)
	written.histograms = min(max(written.histograms, 0), sent.histograms)
	written.exemplars = min(max(written.exemplars, 0), sent.exemplars)
	r.Samples += int64(written.samples)
	r.Histograms += int64(written.histograms)
	r.Exemplars += int64(written.exemplars)
	s.o.Meter.Add(int64(sent.samples + sent.histograms))
	refused := sent.total() - written.total()
	if refused == 0 {
		return
	}
	r.Refused += int64(refused)
	if len(r.Reasons) < maxReasons {
		r.Reasons = append(r.Reasons, reason)
	}
}

// retried notes that a batch is sent again.
func (s *Sender) retried(err error) {
	s.mu.Lock()
	s.report.Retries++
	first := s.report.Retries&(s.report.Retries-1) == 0 // the 1st, 2nd, 4th, 8th …
	s.mu.Unlock()
	if first {
		s.o.Log(err.Error())
	}
}

// Report returns what was sent so far.
func (s *Sender) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.Protocol = "2.0"
	if s.one {
		r.Protocol = "1.0"
	}
	r.Reasons = append([]string{}, r.Reasons...)
	return r
}
