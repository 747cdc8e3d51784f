package replicate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/cluster"
	"github.com/minitrue/minitrue/shard/replicate"
)

// here stores nothing, for the sake of a short example.
type here struct{}

func (here) Append(context.Context, *series.Batch) error { return nil }

// What is accepted here goes to another data centre, too.
func Example() {
	arrived := make(chan string)
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		arrived <- r.URL.Path + " from " + r.Header.Get(replicate.Header)
	}))
	defer there.Close()
	dir, err := os.MkdirTemp("", "replicate")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	url, err := replicate.ParseURL(there.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := replicate.New(dir, here{}, replicate.Options{Targets: []string{url}, Node: "ing1", Encode: cluster.Encode})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	err = r.Append(ctx, &series.Batch{
		Series:  []series.Entry{{Key: series.AppendLabel(nil, "__name__", "temperature"), Count: 1}},
		Samples: []series.Sample{{T: 1_767_225_600_000, V: 71.25}},
	})
	fmt.Println(err, <-arrived)
	stop()
	fmt.Println(<-done, r.Close())
	// Output:
	// <nil> /api/v1/write from ing1
	// <nil> <nil>
}
