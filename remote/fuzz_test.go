package remote

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/minitrue/minitrue/chunk/series"
)

// canonicalKeys tells whether every key is one that the store would accept as it is or
// after sorting out its frames; what is inside of others the decoder does not look at.
func canonicalKeys(b *series.Batch) bool {
	return !slices.ContainsFunc(b.Series, func(e series.Entry) bool {
		return series.EachLabel(e.Key, func(string, string) {}) != nil
	})
}

// What the decoder accepts, Prometheus's generated code accepts too, and they see the same.
func FuzzDecodeV1(f *testing.F) {
	for seed := range uint64(8) {
		wire, _ := randomV1(rand.New(rand.NewPCG(seed, 1))).Marshal()
		f.Add(wire)
	}
	f.Add(slices.Concat(field(1, label("__name__", "up"), appendSample(nil, 1, 2), label("job", "x"))))
	d := &decoder{lease: lease{from: &budget{max: 64 << 20}}}
	f.Fuzz(func(t *testing.T, wire []byte) {
		d.reset()
		d.lease.release()
		if err := d.decodeV1(wire); err != nil || d.batch.Rejected.Any() || !canonicalKeys(&d.batch) {
			return
		}
		var req prompb.WriteRequest
		if err := req.Unmarshal(wire); err != nil {
			t.Fatalf("Prometheus refuses it: %v", err)
		}
		if len(d.batch.Histograms) > 0 { // reduced ones and unknown hints differ by design
			return
		}
		if got, want := lines(&d.batch), linesV1(&req); !slices.Equal(got, want) {
			t.Fatalf("\n got %q\nwant %q", got, want)
		}
	})
}

func FuzzDecodeV2(f *testing.F) {
	for seed := range uint64(8) {
		wire, _ := randomV2(rand.New(rand.NewPCG(seed, 1))).OptimizedMarshal(nil)
		f.Add(wire)
	}
	f.Add(oneV2)
	// A histogram whose start timestamp is no number.
	f.Add(slices.Concat(field(4), field(4, []byte("__name__")), field(4, []byte("h")),
		field(5, []byte("\x0a\x02\x01\x02"), field(3, []byte("\x89\x01\x00\x00\x00\x00\x00\x00\x00\x00")))))
	d := &decoder{lease: lease{from: &budget{max: 64 << 20}}}
	f.Fuzz(func(t *testing.T, wire []byte) {
		d.reset()
		d.lease.release()
		if err := d.decodeV2(wire); err != nil || d.batch.Rejected.Any() {
			return
		}
		var req writev2.Request
		if err := req.Unmarshal(wire); err != nil {
			t.Fatalf("Prometheus refuses it: %v", err)
		}
		want, ok := linesV2(&req)
		if !ok {
			t.Fatal("a reference leads nowhere and nothing was rejected")
		}
		if len(d.batch.Histograms) > 0 {
			return
		}
		if got := lines(&d.batch); !slices.Equal(got, want) {
			t.Fatalf("\n got %q\nwant %q", got, want)
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	for _, types := range [][]prompb.ReadRequest_ResponseType{nil, formSamples, formChunks} {
		plain, _ := snappy.Decode(nil, readBodyOf(types, selectJob(0, 1e9, "x")))
		f.Add(plain)
	}
	h := NewReadHandler(filled(3, 10), ReadOptions{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		if w := post(h, snappy.Encode(nil, plain)); w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// Bodies as they come from outside: never worse than a 4xx.
func FuzzWriteBody(f *testing.F) {
	f.Add(snappy.Encode(nil, oneV1), false)
	f.Add(snappy.Encode(nil, oneV2), true)
	f.Add(promise(1<<32-1), false)
	h := NewWriteHandler(newMemory(), WriteOptions{MaxDecoded: 1 << 20})
	f.Fuzz(func(t *testing.T, body []byte, v2 bool) {
		content := contentV1
		if v2 {
			content = contentV2
		}
		if w := post(h, body, "Content-Type", content); w.Code != 204 && w.Code/100 != 4 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
