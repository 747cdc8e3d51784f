package fetch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

// maxFrame bounds what one frame of an answer may ask to be read into memory.
const maxFrame = 64 << 20

// Server is what is read from.
type Server struct {
	Read   string // the whole URL of remote_read
	API    string // the URL before /api/v1
	Client *http.Client
}

// Query is what is asked for.
type Query struct {
	MinTime, MaxTime int64 // ms, inclusive
	Matchers         []*labels.Matcher
}

func (q Query) proto() *prompb.Query {
	types := map[labels.MatchType]prompb.LabelMatcher_Type{
		labels.MatchEqual: prompb.LabelMatcher_EQ, labels.MatchNotEqual: prompb.LabelMatcher_NEQ,
		labels.MatchRegexp: prompb.LabelMatcher_RE, labels.MatchNotRegexp: prompb.LabelMatcher_NRE,
	}
	p := &prompb.Query{StartTimestampMs: q.MinTime, EndTimestampMs: q.MaxTime}
	for _, m := range q.Matchers {
		p.Matchers = append(p.Matchers, &prompb.LabelMatcher{Type: types[m.Type], Name: m.Name, Value: m.Value})
	}
	return p
}

// Samples calls emit for every run of the series that match, by series.
func (s Server) Samples(ctx context.Context, q Query, emit func(*flow.Run) error) error {
	body, err := (&prompb.ReadRequest{
		Queries:               []*prompb.Query{q.proto()},
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS, prompb.ReadRequest_SAMPLES},
	}).Marshal()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Read, bytes.NewReader(snappy.Encode(nil, body)))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "minitruectl")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Read-Version", "0.1.0")
	resp, err := s.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp, s.Read)
	}
	r := reader{q: q, emit: emit, b: labels.NewScratchBuilder(16)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/x-streamed-protobuf") {
		err = r.stream(resp.Body)
	} else {
		err = r.whole(resp.Body)
	}
	if err != nil {
		return fmt.Errorf("read from %s: %w", s.Read, err)
	}
	return nil
}

func refused(resp *http.Response, url string) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return errors.Join(fmt.Errorf("%s answers %s: %s", url, resp.Status, bytes.TrimSpace(text)), err)
}

// reader takes an answer apart.
type reader struct {
	q    Query
	emit func(*flow.Run) error
	b    labels.ScratchBuilder
	buf  flow.Buffer
	it   map[chunkenc.Encoding]chunkenc.Iterator
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stream reads frames: the length as uvarint, the CRC-32C of what follows, big endian, and a ChunkedReadResponse.
func (r *reader) stream(body io.Reader) error {
	in := bufio.NewReaderSize(body, 64<<10)
	r.it = map[chunkenc.Encoding]chunkenc.Iterator{}
	var frame []byte
	for {
		n, err := binary.ReadUvarint(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the length of a frame: %w", err)
		}
		if n > maxFrame {
			return fmt.Errorf("a frame of %d bytes, at most %d are read", n, maxFrame)
		}
		if uint64(cap(frame)) < n+4 {
			frame = make([]byte, n+4)
		}
		frame = frame[:n+4]
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("a frame of %d bytes: %w", n, err)
		}
		if crc32.Checksum(frame[4:], castagnoli) != binary.BigEndian.Uint32(frame) {
			return fmt.Errorf("a frame of %d bytes: checksum mismatch", n)
		}
		var resp prompb.ChunkedReadResponse
		if err := resp.Unmarshal(frame[4:]); err != nil {
			return fmt.Errorf("a frame of %d bytes: %w", n, err)
		}
		for _, s := range resp.ChunkedSeries {
			ls := s.ToLabels(&r.b, nil)
			for _, c := range s.Chunks {
				if err := r.chunk(ls, c); err != nil {
					return fmt.Errorf("series %s: chunk from %d: %w", ls, c.MinTimeMs, err)
				}
			}
		}
	}
}

// chunk emits the samples of one chunk that were asked for.
func (r *reader) chunk(ls labels.Labels, c prompb.Chunk) (err error) {
	defer func() {
		if p := recover(); p != nil { // chunkenc trusts the bytes of histograms
			err = fmt.Errorf("malformed: %v", p)
		}
	}()
	encodings := map[prompb.Chunk_Encoding]chunkenc.Encoding{
		prompb.Chunk_XOR: chunkenc.EncXOR, prompb.Chunk_HISTOGRAM: chunkenc.EncHistogram, prompb.Chunk_FLOAT_HISTOGRAM: chunkenc.EncFloatHistogram,
	}
	enc, ok := encodings[c.Type]
	if !ok || len(c.Data) < 3 {
		return fmt.Errorf("type %s, %d bytes", c.Type, len(c.Data))
	}
	d, err := chunkenc.FromData(enc, c.Data)
	if err != nil {
		return err
	}
	it := d.Iterator(r.it[enc])
	r.it[enc] = it
	return r.buf.Each(ls, nil, it, r.q.MinTime, r.q.MaxTime, r.emit)
}

// whole reads an answer of samples: that of a server that does not stream.
func (r *reader) whole(body io.Reader) error {
	packed, err := io.ReadAll(io.LimitReader(body, maxFrame+1))
	if err != nil {
		return err
	}
	if n, err := snappy.DecodedLen(packed); err == nil && n > 4*maxFrame || len(packed) > maxFrame {
		return fmt.Errorf("an answer of more than %d bytes from a server that does not stream: ask for less by --match, --start and --end", maxFrame)
	}
	raw, err := snappy.Decode(nil, packed)
	if err != nil {
		return err
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(raw); err != nil {
		return err
	}
	for _, result := range resp.Results {
		for _, ts := range result.Timeseries {
			one := flow.Run{Labels: ts.ToLabels(&r.b, nil)}
			for _, s := range ts.Samples {
				one.Floats = append(one.Floats, series.Sample{T: s.Timestamp, V: s.Value})
			}
			for _, h := range ts.Histograms {
				x := series.Histogram{T: h.Timestamp}
				if h.IsFloatHistogram() {
					x.Float = h.ToFloatHistogram()
				} else {
					x.Int = h.ToIntHistogram()
				}
				one.Histograms = append(one.Histograms, x)
			}
			if one.Len() > 0 {
				if err := r.emit(&one); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// get asks the HTTP API and decodes what is under "data".
func (s Server) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.API+path, nil)
	if err != nil {
		return err
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refused(resp, s.API+path)
	}
	answer := struct {
		Data any `json:"data"`
	}{v}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxFrame)).Decode(&answer); err != nil {
		return fmt.Errorf("%s%s: %w", s.API, path, err)
	}
	return nil
}

// Metadata returns what the server knows of metric families, by name.
func (s Server) Metadata(ctx context.Context) (map[string]*series.Metadata, error) {
	var data map[string][]struct{ Type, Help, Unit string }
	if err := s.get(ctx, "/api/v1/metadata", &data); err != nil {
		return nil, err
	}
	all := map[string]*series.Metadata{}
	for family, ms := range data {
		if len(ms) > 0 {
			all[family] = &series.Metadata{Family: family, Type: model.MetricType(ms[0].Type), Help: ms[0].Help, Unit: ms[0].Unit}
		}
	}
	return all, nil
}

// Names returns the metric names of the series that match, sorted.
func (s Server) Names(ctx context.Context, q Query) ([]string, error) {
	var parts []string
	for _, m := range q.Matchers {
		parts = append(parts, m.String())
	}
	v := url.Values{"match[]": {"{" + strings.Join(parts, ",") + "}"}}
	if q.MinTime > 0 {
		v.Set("start", strconv.FormatFloat(float64(q.MinTime)/1000, 'f', 3, 64))
	}
	if q.MaxTime < 1<<53 {
		v.Set("end", strconv.FormatFloat(float64(q.MaxTime+1)/1000, 'f', 3, 64))
	}
	var names []string
	err := s.get(ctx, "/api/v1/label/__name__/values?"+v.Encode(), &names)
	return names, err
}
