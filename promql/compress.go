package promql

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const minCompressed = 1 << 10 // a smaller answer fits one packet anyway

// compressor is what gzip's and zstd's writers have in common.
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressors keeps compressors, which are large, from one answer to the next.
type compressors struct{ gzip, zstd sync.Pool }

func newCompressors() *compressors {
	return &compressors{
		gzip: sync.Pool{New: func() any {
			w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // errs on an unknown level alone
			return w
		}},
		zstd: sync.Pool{New: func() any {
			w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), // errs on bad options alone
				zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(256<<10))
			return w
		}},
	}
}

// acceptable picks the encoding for an Accept-Encoding header: the one with the
// greatest weight, zstd of equals, or none.
func acceptable(header string) string {
	best, bestQ := "", 0.0
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "*" {
			name = "gzip"
		}
		if name != "gzip" && name != "zstd" {
			continue
		}
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			var err error
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		if q > bestQ || q == bestQ && q > 0 && name == "zstd" {
			best, bestQ = name, q
		}
	}
	return best
}

// body writes a successful answer. Its header goes out with the first write, so
// that a short answer can go as it is.
type body struct {
	w        http.ResponseWriter
	encoding string
	pool     *sync.Pool
	z        compressor // nil: plain
	begun    bool
}

func (c *compressors) body(w http.ResponseWriter, accept string) *body {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Vary", "Accept-Encoding")
	b := &body{w: w, encoding: acceptable(accept)}
	switch b.encoding {
	case "gzip":
		b.pool = &c.gzip
	case "zstd":
		b.pool = &c.zstd
	}
	return b
}

func (b *body) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		if b.pool != nil {
			b.w.Header().Set("Content-Encoding", b.encoding)
			b.z = b.pool.Get().(compressor)
			b.z.Reset(b.w)
		}
		b.w.WriteHeader(http.StatusOK)
	}
	if b.z != nil {
		return b.z.Write(p)
	}
	return b.w.Write(p)
}

// finish writes what the encoder still has and ends the answer.
func (b *body) finish(e *encoder) error {
	if !b.begun && len(e.buf) < minCompressed {
		b.pool = nil
	}
	if !b.begun && b.pool == nil {
		b.w.Header().Set("Content-Length", strconv.Itoa(len(e.buf)))
	}
	e.flush()
	if b.z == nil {
		return e.err
	}
	err := b.z.Close()
	b.z.Reset(nil)
	b.pool.Put(b.z)
	if e.err != nil {
		return e.err
	}
	return err
}
