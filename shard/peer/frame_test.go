package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

// stream is a stream of these payloads that ends with err.
func stream(t testing.TB, err error, payloads ...string) []byte {
	var b bytes.Buffer
	w := NewFrameWriter(&b)
	for _, p := range payloads {
		if err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(err); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// drain reads a stream to its end, which is nil when it was whole.
func drain(b []byte, max int) (payloads []string, err error) {
	r := NewFrameReader(bytes.NewReader(b), max)
	for {
		p, err := r.Next()
		if err == io.EOF {
			return payloads, nil
		}
		if err != nil {
			if _, again := r.Next(); again != err {
				return payloads, errors.New("a second call of Next gives another error")
			}
			return payloads, err
		}
		payloads = append(payloads, string(p))
	}
}

func TestFrames(t *testing.T) {
	long := strings.Repeat("x", 300_000)
	got, err := drain(stream(t, nil, "a", long, "c"), len(long))
	if err != nil || len(got) != 3 || got[0] != "a" || got[1] != long || got[2] != "c" {
		t.Fatalf("got %d payloads, %v", len(got), err)
	}
	if got, err := drain(stream(t, nil), 1); err != nil || len(got) != 0 {
		t.Errorf("an empty stream: %d payloads, %v", len(got), err)
	}
	if err := NewFrameWriter(io.Discard).Write(nil); err == nil {
		t.Error("an empty payload was written: it would end the stream")
	}
	if _, err := drain(stream(t, nil, long), len(long)-1); err == nil {
		t.Error("a frame over the limit was read")
	}
}

// Nodes of different releases talk to each other: the bytes stay as they are.
func TestFramesGolden(t *testing.T) {
	rows := []struct {
		name string
		got  []byte
		want string
	}{
		{"whole", stream(t, nil, "hi"), "02f59dd9c2686900f16177d200"},
		{"broken off", stream(t, errors.New("no")), "004c9a0100026e6f"},
	}
	for _, r := range rows {
		if got := hex.EncodeToString(r.got); got != r.want {
			t.Errorf("%s: %s, want %s", r.name, got, r.want)
		}
	}
}

func TestFramesThatBreakOff(t *testing.T) {
	got, err := drain(stream(t, errors.New("the disk is gone"), "a"), 10)
	var se *StreamError
	if !errors.As(err, &se) || se.Text != "the disk is gone" || len(got) != 1 {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := drain(stream(t, errors.New("")), 10); !errors.As(err, &se) {
		t.Errorf("an error without words: %v", err)
	}
	if _, err := drain(stream(t, errors.New(strings.Repeat("y", 2*maxText))), 10); !errors.As(err, &se) || len(se.Text) != maxText {
		t.Errorf("a long error: %.50v", err)
	}
}

// A stream that is cut at any byte, or in which any bit is flipped, is never taken for whole, nor for other payloads.
func TestFramesDamaged(t *testing.T) {
	whole := stream(t, nil, "first", "second")
	prefix := func(got []string) bool {
		want := []string{"first", "second"}
		for i, p := range got {
			if i >= len(want) || p != want[i] {
				return false
			}
		}
		return true
	}
	for n := range whole {
		if got, err := drain(whole[:n], 100); err == nil || !prefix(got) {
			t.Errorf("cut at %d: %q, %v", n, got, err)
		}
	}
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		if got, err := drain(b, 100); err == nil || !prefix(got) {
			t.Errorf("bit %d flipped: %q, %v", i, got, err)
		}
	}
}

// A length that promises much takes no memory before the bytes are there.
func TestFramesPromiseMuch(t *testing.T) {
	hostile := []byte{0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3, 4, 5}
	r := NewFrameReader(bytes.NewReader(hostile), 1<<31)
	if _, err := r.Next(); err == nil {
		t.Fatal("no error")
	}
	if cap(r.buf) > 1<<20 {
		t.Errorf("it took %d bytes", cap(r.buf))
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add(stream(f, nil, "a", "bc"))
	f.Add(stream(f, errors.New("no"), "a"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := drain(b, 1000)
		if err != nil {
			return
		}
		// What was read whole is what a writer would have written, up to longer lengths than needed.
		if again, err := drain(stream(t, nil, got...), 1000); err != nil || len(again) != len(got) {
			t.Fatalf("%q came back as %q, %v", got, again, err)
		}
	})
}
