package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"

	"testing"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	configutil "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	promremote "github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/remote"
)

func clientConfig(t *testing.T, address string, message remoteapi.WriteMessageType) *promremote.ClientConfig {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return &promremote.ClientConfig{URL: &configutil.URL{URL: u}, Timeout: model.Duration(30 * time.Second),
		WriteProtoMsg: message, ChunkedReadLimit: 50 << 20, RetryOnRateLimit: true}
}

// Prometheus's own clients write by 1.0 and 2.0 and read back by both forms: every sample is there, bit for bit.
func TestPrometheusClients(t *testing.T) {
	for _, message := range []remoteapi.WriteMessageType{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType} {
		store := remote.NewMemory()
		mux := http.NewServeMux()
		mux.Handle("/api/v1/write", remote.NewWriteHandler(store, remote.WriteOptions{}))
		mux.Handle("/api/v1/read", remote.NewReadHandler(store, remote.ReadOptions{MaxFrame: 500}))
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)

		client, err := promremote.NewWriteClient("w", clientConfig(t, server.URL+"/api/v1/write", message))
		if err != nil {
			t.Fatal(err)
		}
		wire := manySeries(t, message)
		stats, err := client.Store(t.Context(), snappy.Encode(nil, wire), 0)
		if err != nil {
			t.Fatal(err)
		}
		if stats.Samples != 20*300 || stats.Histograms != 20*10 || stats.Exemplars != 20 || !stats.Confirmed {
			t.Errorf("%s: the client was told %+v", message, stats)
		}
		for _, form := range []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS} {
			conf := clientConfig(t, server.URL+"/api/v1/read", message)
			conf.AcceptedResponseTypes = []prompb.ReadRequest_ResponseType{form}
			readBack(t, fmt.Sprintf("%s, %s", message, form), conf)
		}
	}
}

func sampleAt(i, j int) float64 {
	switch j % 100 {
	case 97:
		return math.Float64frombits(value.StaleNaN)
	case 98:
		return math.Inf(-1)
	}
	return float64(i*1000+j) / 7
}

// manySeries is 20 series of 300 samples, 10 histograms and an exemplar, half a minute apart.
func manySeries(t *testing.T, message remoteapi.WriteMessageType) []byte {
	t.Helper()
	st := writev2.NewSymbolTable()
	one, two := &prompb.WriteRequest{}, &writev2.Request{}
	for i := range 20 {
		ls := labels.FromStrings("__name__", "many", "instance", fmt.Sprintf("i%02d", i), "job", "test")
		ts1 := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
		ts2 := writev2.TimeSeries{LabelsRefs: st.SymbolizeLabels(ls, nil), Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE}}
		for j := range 300 {
			ts1.Samples = append(ts1.Samples, prompb.Sample{Timestamp: int64(j) * 30_000, Value: sampleAt(i, j)})
			ts2.Samples = append(ts2.Samples, writev2.Sample{Timestamp: int64(j) * 30_000, Value: sampleAt(i, j), StartTimestamp: 1})
		}
		for j := range int64(10) {
			h := tsdbutil.GenerateTestHistogram(j)
			ts1.Histograms = append(ts1.Histograms, prompb.FromIntHistogram(9_000_000+j, h))
			ts2.Histograms = append(ts2.Histograms, writev2.FromIntHistogram(1, 9_000_000+j, h))
		}
		ts1.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "id", Value: "x"}}, Value: 1, Timestamp: 1}}
		ts2.Exemplars = []writev2.Exemplar{{LabelsRefs: st.SymbolizeLabels(labels.FromStrings("id", "x"), nil), Value: 1, Timestamp: 1}}
		one.Timeseries, two.Timeseries = append(one.Timeseries, ts1), append(two.Timeseries, ts2)
	}
	two.Symbols = st.Symbols()
	marshal := one.Marshal
	if message == remoteapi.WriteV2MessageType {
		marshal = two.Marshal
	}
	wire, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func readBack(t *testing.T, name string, conf *promremote.ClientConfig) {
	t.Helper()
	client, err := promremote.NewReadClient("r", conf)
	if err != nil {
		t.Fatal(err)
	}
	q, err := promremote.ToQuery(0, 10_000_000, []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "__name__", "many"), labels.MustNewMatcher(labels.MatchRegexp, "instance", "i.*")},
		&storage.SelectHints{Start: 0, End: 10_000_000, Func: "rate"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.Read(t.Context(), q, true)
	if err != nil {
		t.Fatal(err)
	}
	type found struct{ floats, histograms int64 }
	all := map[string]*found{}
	var last string
	for set.Next() { // a series whose frames are several comes in as many parts
		instance := set.At().Labels().Get("instance")
		if all[instance] == nil {
			all[instance] = &found{}
		}
		if instance < last {
			t.Errorf("%s: %s comes after %s", name, instance, last)
		}
		last = instance
		var n int
		fmt.Sscanf(instance, "i%d", &n)
		f := all[instance]
		it := set.At().Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone; typ = it.Next() {
			if typ == chunkenc.ValHistogram {
				at, h := it.AtHistogram(nil)
				if want := tsdbutil.GenerateTestHistogram(f.histograms); at != 9_000_000+f.histograms || h.String() != want.String() {
					t.Errorf("%s: series %d has at %d %s, want %s", name, n, at, h, want)
				}
				f.histograms++
				continue
			}
			at, v := it.At()
			if at != f.floats*30_000 || math.Float64bits(v) != math.Float64bits(sampleAt(n, int(f.floats))) {
				t.Errorf("%s: series %d has %v at %d", name, n, v, at)
			}
			f.floats++
		}
		if it.Err() != nil {
			t.Error(it.Err())
		}
	}
	for instance, f := range all {
		if *f != (found{300, 10}) {
			t.Errorf("%s: %s: %+v", name, instance, *f)
		}
	}
	if set.Err() != nil || len(all) != 20 {
		t.Errorf("%s: %d series, %v", name, len(all), set.Err())
	}
}

// Prometheus's client takes a 503, and a 429 if it is told so, for a reason to try again,
// and a partial write for one to give up.
func TestPrometheusClientRetries(t *testing.T) {
	for _, r := range []struct {
		err   error
		retry bool
	}{{series.ErrUnavailable, true}, {series.ErrOverload, true}, {errors.New("boom"), true}, {nil, false}} {
		store := failing{r.err}
		server := httptest.NewServer(remote.NewWriteHandler(store, remote.WriteOptions{}))
		client, err := promremote.NewWriteClient("w", clientConfig(t, server.URL, remoteapi.WriteV1MessageType))
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Store(t.Context(), snappy.Encode(nil, manySeries(t, remoteapi.WriteV1MessageType)), 0)
		var again promremote.RecoverableError
		if err == nil || errors.As(err, &again) != r.retry {
			t.Errorf("%v: the client saw %v", r.err, err)
		}
		server.Close()
	}
}

// failing refuses all, or every series when it has no error.
type failing struct{ err error }

func (f failing) Append(_ context.Context, b *series.Batch) error {
	for i := range b.Series {
		b.Reject(i, "test", errors.New("no"))
	}
	return f.err
}

// A stream that breaks off is an error to Prometheus's client, never a short answer.
func TestPrometheusClientSeesABrokenStream(t *testing.T) {
	store := remote.NewMemory()
	h := remote.NewWriteHandler(store, remote.WriteOptions{})
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(snappy.Encode(nil, manySeries(t, remoteapi.WriteV1MessageType))))
	h.ServeHTTP(httptest.NewRecorder(), r)
	remote.FailReads(store, errors.New("disk on fire"))
	server := httptest.NewServer(remote.NewReadHandler(store, remote.ReadOptions{MaxFrame: 100}))
	t.Cleanup(server.Close)
	client, err := promremote.NewReadClient("r", clientConfig(t, server.URL, remoteapi.WriteV1MessageType))
	if err != nil {
		t.Fatal(err)
	}
	set, err := client.Read(t.Context(), &prompb.Query{EndTimestampMs: 10_000_000}, false)
	if err != nil {
		return // it came before the first frame
	}
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
		}
	}
	if set.Err() == nil {
		t.Fatal("the client takes a part for the whole")
	}
}
