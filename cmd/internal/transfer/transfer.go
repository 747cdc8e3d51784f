// Package transfer sends what a source holds, and remembers in a file how far it came.
//
//	Source ──emit──▶ Sender
//	       ──mark──▶ flush the Sender, write the state: what lies before the mark has been answered
package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// A Sink takes runs. Flush returns when all of them were answered.
type Sink interface {
	Send(r *flow.Run) error
	Flush() error
}

// Options of a transfer. The zero value is usable.
type Options struct {
	State string           // a file; "" means that nothing is remembered
	Every time.Duration    // between two states; 0 means 5 s, less than 0 at every mark
	Now   func() time.Time // nil means time.Now
}

// state is what the file says.
type state struct {
	Source   string `json:"source"`
	Position int64  `json:"position"`
}

// Run sends what a source holds from where the state says, or from the beginning.
func Run(ctx context.Context, src flow.Source, to Sink, o Options) error {
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.State != "" && src.Name() == "" {
		return errors.New("a state is of no use for what can be read but once: leave --state out, or read from a file")
	}
	s, err := load(o.State, src.Name())
	if err != nil {
		return err
	}
	last := o.Now()
	err = src.Read(ctx, s.Position, to.Send, func(position int64) error {
		s.Position = position
		if o.State == "" || o.Now().Sub(last) < o.Every {
			return ctx.Err()
		}
		if err := to.Flush(); err != nil {
			return err
		}
		last = o.Now()
		return s.save(o.State)
	})
	if err != nil {
		return err
	}
	if err := to.Flush(); err != nil || o.State == "" {
		return err
	}
	return s.save(o.State)
}

func load(path, source string) (state, error) {
	s := state{Source: source}
	if path == "" {
		return s, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	var was state
	if err := json.Unmarshal(raw, &was); err != nil {
		return s, fmt.Errorf("state %s: %w: remove it to begin anew", path, err)
	}
	if was.Source != source {
		return s, fmt.Errorf("state %s is of %q, and this is %q: give another file, or remove it to begin anew", path, was.Source, source)
	}
	return was, nil
}

// save replaces the file at once: after a kill it is the one before or this one.
func (s state) save(path string) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
