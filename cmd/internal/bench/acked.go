package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// Acked is one acknowledged request: a sample of each of series [First, Last) at a step.
type Acked struct{ First, Last, Step int }

// AckedLog is the file in which a load notes what was acknowledged. Its first line is the
// shape as JSON, every other line one request: "first last step". A nil log notes nothing.
type AckedLog struct {
	mu sync.Mutex // guards f
	f  *os.File
}

// CreateAckedLog begins a new log and replaces what was there.
func CreateAckedLog(path string, s workload.Shape) (*AckedLog, error) {
	header, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("acknowledged log: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("acknowledged log: %w", err)
	}
	if _, err := f.Write(append(header, '\n')); err != nil {
		f.Close()
		return nil, fmt.Errorf("acknowledged log: %w", err)
	}
	return &AckedLog{f: f}, nil
}

// Add notes a request. The line is with the operating system when Add returns, so it outlives
// the death of this program.
func (l *AckedLog) Add(a Acked) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := fmt.Fprintf(l.f, "%d %d %d\n", a.First, a.Last, a.Step); err != nil {
		return fmt.Errorf("acknowledged log: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *AckedLog) Close() error {
	if l == nil {
		return nil
	}
	return l.f.Close()
}

// ReadAcked reads a log. A last line that was cut by a crash is left out.
func ReadAcked(r io.Reader) (s workload.Shape, acked []Acked, err error) {
	br := bufio.NewReader(r)
	line, err := br.ReadString('\n')
	if err != nil {
		return s, nil, fmt.Errorf("acknowledged log: the first line: %w", err)
	}
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		return s, nil, fmt.Errorf("acknowledged log: the first line is not a shape: %w", err)
	}
	if err := s.Check(); err != nil {
		return s, nil, fmt.Errorf("acknowledged log: %w", err)
	}
	for n := 2; ; n++ {
		line, err := br.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF):
			return s, acked, nil
		case err != nil:
			return s, nil, fmt.Errorf("acknowledged log: line %d: %w", n, err)
		}
		var a Acked
		if _, err := fmt.Sscanf(strings.TrimSuffix(line, "\n"), "%d %d %d", &a.First, &a.Last, &a.Step); err != nil {
			return s, nil, fmt.Errorf("acknowledged log: line %d: %w", n, err)
		}
		if a.First < 0 || a.First >= a.Last || a.Last > s.Series || a.Step < 0 || a.Step >= s.Samples {
			return s, nil, fmt.Errorf("acknowledged log: line %d: %v is not in the shape", n, a)
		}
		acked = append(acked, a)
	}
}
