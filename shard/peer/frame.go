package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FrameWriter writes a stream of frames. It is for one goroutine.
type FrameWriter struct {
	w    io.Writer
	head []byte
}

// NewFrameWriter returns a writer of frames to w, each in two writes.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write writes one frame. A payload has at least one byte.
func (f *FrameWriter) Write(payload []byte) error {
	if len(payload) == 0 {
		return errors.New("write frame: it is empty, as only the end of a stream is")
	}
	f.head = binary.AppendUvarint(f.head[:0], uint64(len(payload)))
	f.head = binary.BigEndian.AppendUint32(f.head, crc32.Checksum(payload, castagnoli))
	if _, err := f.w.Write(f.head); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	if _, err := f.w.Write(payload); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// Close ends the stream: it was whole, or it ends here because of err. Without it a reader knows that frames are missing.
func (f *FrameWriter) Close(err error) error {
	text := ""
	if err != nil {
		if text = err.Error(); text == "" {
			text = "it does not say what went wrong"
		}
		text = text[:min(len(text), maxText)]
	}
	end := append(endHead(uint64(len(text))), text...)
	f.head = binary.BigEndian.AppendUint32(append(f.head[:0], 0), crc32.Checksum(end, castagnoli))
	if _, err := f.w.Write(append(f.head, end[1:]...)); err != nil {
		return fmt.Errorf("write the last frame: %w", err)
	}
	return nil
}

// endHead is where the checksum of a last frame begins: the length 0 is part of it, so that no payload has the same.
func endHead(text uint64) []byte { return binary.AppendUvarint([]byte{0}, text) }

// A StreamError is why the other node ended a stream before it was whole.
type StreamError struct{ Text string }

func (e *StreamError) Error() string { return "the node broke off: " + e.Text }

// FrameReader reads a stream of frames. It is for one goroutine.
type FrameReader struct {
	r   *bufio.Reader
	max int
	buf []byte
	err error
}

// NewFrameReader returns a reader of frames whose payloads have at most max bytes.
func NewFrameReader(r io.Reader, max int) *FrameReader {
	return &FrameReader{r: bufio.NewReaderSize(r, 32<<10), max: max}
}

// Next returns the next payload, which is valid until the following call. [io.EOF] means that there was all that there is;
// a [*StreamError] that the sender could not go on; anything else that the stream is damaged or cut short.
func (f *FrameReader) Next() ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	payload, err := f.next()
	if err != nil {
		var se *StreamError
		if f.err = err; err != io.EOF && !errors.As(err, &se) {
			f.err = fmt.Errorf("read frame: %w", err)
		}
		return nil, f.err
	}
	return payload, nil
}

func (f *FrameReader) next() ([]byte, error) {
	n, err := f.length()
	if err != nil {
		return nil, err
	}
	var sum [4]byte
	if _, err := io.ReadFull(f.r, sum[:]); err != nil {
		return nil, early(err)
	}
	want := binary.BigEndian.Uint32(sum[:])
	if n == 0 {
		return nil, f.end(want)
	}
	if n > uint64(f.max) {
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", n, f.max)
	}
	if f.buf, err = readN(f.r, f.buf[:0], int(n)); err != nil {
		return nil, err
	}
	if crc32.Checksum(f.buf, castagnoli) != want {
		return nil, errors.New("checksum mismatch")
	}
	return f.buf, nil
}

// end reads the last frame, but for its first byte and its checksum.
func (f *FrameReader) end(want uint32) error {
	n, err := f.length()
	switch {
	case err != nil:
		return err
	case n > maxText:
		return fmt.Errorf("the last one has %d bytes, at most %d are allowed", n, maxText)
	}
	b := endHead(n)
	head := len(b)
	if b, err = readN(f.r, b, int(n)); err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != want {
		return errors.New("checksum mismatch in the last one")
	}
	if n == 0 {
		return io.EOF
	}
	return &StreamError{string(b[head:])}
}

func (f *FrameReader) length() (uint64, error) {
	n, err := binary.ReadUvarint(f.r)
	if err != nil {
		return 0, early(err)
	}
	return n, nil
}

// early makes an error of the end of a stream that has no last frame.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readN appends n bytes to buf. Memory follows the bytes that really come.
func readN(r io.Reader, buf []byte, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, max(64<<10, len(buf)))
		at := len(buf)
		buf = slices.Grow(buf, step)[:at+step]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return buf[:0], early(err)
		}
		n -= step
	}
	return buf, nil
}
