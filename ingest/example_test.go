package ingest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/ingest"
)

// store prints what it is given.
type store struct{}

func (store) Append(_ context.Context, b *series.Batch) error {
	for _, e := range b.Series {
		fmt.Println(e.Count, "samples")
	}
	return nil
}

func ExamplePipeline() {
	p := ingest.NewPipeline(store{}, ingest.Options{Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) }})

	var b series.Batch
	b.Series = []series.Entry{{Key: series.AppendLabel(nil, "__name__", "up"), Count: 2}}
	b.Samples = []series.Sample{{T: 1_700_000_000_000, V: 1}, {T: -5, V: 1}}
	err := p.Door("remote_write").Append(context.Background(), &b)
	fmt.Println(err, b.Rejected.Reasons)
	fmt.Println(b.Rejected.Errs[0])
	// Output:
	// 1 samples
	// <nil> map[time_negative:1]
	// sample of {__name__="up"} at 1969-12-31T23:59:59.995Z (-5 ms): the time is before 1970
}
