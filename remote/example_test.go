package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/remote"
)

// printer is an appender that prints what it is given.
type printer struct{}

func (printer) Append(_ context.Context, b *series.Batch) error {
	for _, e := range b.Series {
		err := series.EachLabel(e.Key, func(name, value string) { fmt.Printf("%s=%s ", name, value) })
		if err != nil {
			return err
		}
		fmt.Println(b.Samples[e.First : e.First+e.Count])
	}
	return nil
}

func Example() {
	server := httptest.NewServer(remote.NewWriteHandler(printer{}, remote.WriteOptions{}))
	defer server.Close()

	message, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "temperature"}, {Name: "device_id", Value: "d1"}},
		Samples: []prompb.Sample{{Timestamp: 1700000000000, Value: 21.5}},
	}}}).Marshal()
	if err != nil {
		panic(err)
	}
	resp, err := http.Post(server.URL, "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, message)))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode, "samples written:", resp.Header.Get("X-Prometheus-Remote-Write-Samples-Written"))
	// Output:
	// __name__=temperature device_id=d1 [{1700000000000 21.5}]
	// 204 samples written: 1
}
