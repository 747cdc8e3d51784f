package remote

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/golang/snappy"
)

const (
	typeProtobuf = "application/x-protobuf"
	messageV1    = "prometheus.WriteRequest"
	messageV2    = "io.prometheus.write.v2.Request"
)

// Versions of remote_write, as they stand in metrics.
const (
	version1    = "1.0"
	version2    = "2.0"
	versionNone = "unknown"
)

// writeVersion reads a Content-Type. None at all means 1.0, whose first senders sent none.
func writeVersion(contentType string) (string, error) {
	if contentType == "" {
		return version1, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil && media == typeProtobuf {
		switch params["proto"] {
		case "", messageV1:
			return version1, nil
		case messageV2:
			return version2, nil
		}
	}
	return versionNone, &requestError{http.StatusUnsupportedMediaType, fmt.Sprintf(
		"the content type %.100q is not supported: send %s, with proto=%s for remote_write 1.0 or proto=%s for 2.0",
		contentType, typeProtobuf, messageV1, messageV2)}
}

// checkEncoding reads a Content-Encoding. None means snappy, the only one there is.
func checkEncoding(encoding string) error {
	if e := strings.TrimSpace(encoding); e == "" || strings.EqualFold(e, "snappy") {
		return nil
	}
	return &requestError{http.StatusUnsupportedMediaType,
		fmt.Sprintf("the content encoding %.100q is not supported: send snappy, in its block format", encoding)}
}

// readBody reads at most limit bytes of a body into buf, whose memory it reuses.
func readBody(r *http.Request, buf []byte, limit int64, l *lease) ([]byte, error) {
	tooLarge := &requestError{http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the compressed body is larger than %d bytes: send fewer series or samples at once", limit)}
	if r.ContentLength > limit {
		return buf[:0], tooLarge
	}
	// A header promises what it likes: memory follows the bytes that really come.
	want := max(512, int(min(r.ContentLength+1, 1<<20)))
	for buf = buf[:0]; ; want = 512 {
		var err error
		if buf, err = room(l, buf, want); err != nil {
			return buf, err
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, tooLarge
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, badRequest("the body ends early: %v", err)
		}
	}
}

// snappyRatio is more than a snappy block can promise for each of its bytes: the
// densest element is a copy of 64 bytes in 3.
const snappyRatio = 22

// decompress decodes a snappy block into buf, whose memory it reuses. It believes the
// length in the header only as far as the limit, and the bytes behind it, allow.
func decompress(buf, body []byte, limit int64, l *lease) ([]byte, error) {
	if len(body) == 0 {
		return buf[:0], badRequest("the body is empty: send a snappy-compressed protobuf message")
	}
	n, err := snappy.DecodedLen(body)
	switch {
	case err != nil && !errors.Is(err, snappy.ErrTooLarge):
		return buf[:0], badRequest("the body is not a snappy block: %v", err)
	case err != nil || int64(n) > limit:
		return buf[:0], &requestError{http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the decompressed body is larger than %d bytes: send fewer series or samples at once", limit)}
	case n > snappyRatio*len(body):
		return buf[:0], badRequest("the body is not a snappy block: it promises %d bytes in %d", n, len(body))
	}
	if buf, err = room(l, buf[:0], n); err != nil {
		return buf, err
	}
	out, err := snappy.Decode(buf[:n], body)
	if err != nil {
		return buf[:0], badRequest("the body is not a snappy block: %v", err)
	}
	return out, nil
}
