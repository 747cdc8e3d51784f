package progress

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	for _, row := range []struct {
		format      func(float64) string
		done, total int64
		took        time.Duration
		want        string
	}{
		{bytes, 0, 0, time.Second, "x: 0 B, 0 B/s"},
		{bytes, 3 << 20, 0, 2 * time.Second, "x: 3 MiB, 2 MiB/s"},
		{bytes, 1 << 30, 4 << 30, 10 * time.Second, "x:  25 %, 1 GiB of 4 GiB, 102 MiB/s, 30s left"},
		{bytes, 4 << 30, 4 << 30, 4 * time.Second, "x: 100 %, 4 GiB of 4 GiB, 1 GiB/s"},
		{count, 5_000_000, 20_000_000, 5 * time.Second, "x:  25 %, 5000 k of 20.0 M, 1000 k/s, 15s left"},
		{count, 7, 5, time.Second, "x: 100 %, 7 of 5, 7/s"},
		{count, 7, 9, 0, "x:  78 %, 7 of 9, 7000/s, 0s left"},
	} {
		if got := describe("x", row.format, row.done, row.total, row.took); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}

// written is a text that says when it begins.
type written struct {
	strings.Builder
	once  sync.Once
	first chan struct{}
}

func (w *written) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.first) })
	return w.Builder.Write(p)
}

func TestWhile(t *testing.T) {
	b := written{first: make(chan struct{})}
	m := Items(&b, "x", "samples")
	m.every = time.Millisecond
	want := errors.New("x")
	err := m.While(func() error {
		m.Expect(10)
		m.Add(10)
		<-b.first // of work that ends before the first tick there is no line
		return want
	})
	if err != want || m.Done() != 10 {
		t.Errorf("%v after %d", err, m.Done())
	}
	if !strings.Contains(b.String(), "10 samples of 10 samples") {
		t.Errorf("it says %q", b.String())
	}
	var none *Meter
	none.Add(1)
	none.Expect(1)
	if err := none.While(func() error { return want }); err != want || none.Done() != 0 {
		t.Error(err)
	}
}
