package bench_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

func ExampleLoad() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent) // a server that believes everything
	}))
	defer server.Close()
	report, err := bench.Load(context.Background(), bench.LoadOptions{
		URL:   server.URL,
		Shape: workload.Shape{Series: 100, Samples: 6, Start: 1_700_000_000_000, Interval: 10_000, Values: workload.Walk},
		Batch: 50,
	})
	fmt.Println(report.Samples, report.Requests, err)
	// Output: 600 12 <nil>
}
