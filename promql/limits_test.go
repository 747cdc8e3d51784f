package promql_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/minitrue/minitrue/promql"
)

// faulty is storage that fails, or waits, as it is told.
type faulty struct {
	err     error
	wait    chan struct{} // nil: do not wait
	entered chan struct{} // nil, or told of every select
}

func (f *faulty) Querier(int64, int64) (storage.Querier, error) { return f, nil }
func (f *faulty) Close() error                                  { return nil }

func (f *faulty) fail(ctx context.Context) error {
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return f.err
}

func (f *faulty) Select(ctx context.Context, _ bool, _ *storage.SelectHints, _ ...*labels.Matcher) storage.SeriesSet {
	if err := f.fail(ctx); err != nil {
		return storage.ErrSeriesSet(err)
	}
	return storage.EmptySeriesSet()
}

func (f *faulty) LabelValues(ctx context.Context, _ string, _ *storage.LabelHints, _ ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, f.fail(ctx)
}

func (f *faulty) LabelNames(ctx context.Context, _ *storage.LabelHints, _ ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, f.fail(ctx)
}

type downError struct{}

func (downError) Error() string     { return "nodes n2, n3 do not answer" }
func (downError) Unavailable() bool { return true }

func TestStorageErrors(t *testing.T) {
	paths := []call{{"GET", "/api/v1/query", "query=a"}, {"GET", "/api/v1/query_range", "query=a&start=0&end=1&step=1"}, {"GET", "/api/v1/series", "match[]=a"}, {"GET", "/api/v1/labels", ""}, {"GET", "/api/v1/label/a/values", ""}}
	for _, c := range []struct {
		name string
		err  error
		want want
	}{
		{"damage", errors.New("block 7 is damaged"), want{422, "execution", "block 7"}},
		{"unavailable", fmt.Errorf("select: %w", downError{}), want{503, "unavailable", "n2, n3"}},
		{"deadline", context.DeadlineExceeded, want{503, "timeout", ""}},
		{"canceled", context.Canceled, want{499, "canceled", ""}},
	} {
		srv := serve(t, promql.Options{Queryable: &faulty{err: c.err}})
		for _, p := range paths {
			resp, body := p.do(t, srv.URL)
			c.want.check(t, c.name+" "+p.String(), resp.StatusCode, body)
		}
	}
}

// Over the limit of concurrent queries one waits, and is told so when its time is over.
func TestConcurrencyLimit(t *testing.T) {
	f := &faulty{wait: make(chan struct{}), entered: make(chan struct{}, 10)}
	srv := serve(t, promql.Options{Queryable: f, Concurrency: 2, Timeout: time.Minute})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			resp, err := http.Get(srv.URL + "/api/v1/query?query=a")
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("a query within the limit: %s", resp.Status)
			}
		})
	}
	<-f.entered
	<-f.entered
	resp, body := call{"GET", "/api/v1/query", "query=a&timeout=50ms"}.do(t, srv.URL)
	want{503, "timeout", "too many queries at once: 2 are running"}.check(t, "a third one", resp.StatusCode, body)
	if resp, body := (call{"GET", "/api/v1/status/flags", ""}).do(t, srv.URL); resp.StatusCode != 200 {
		t.Errorf("what is no query: %d %s", resp.StatusCode, body)
	}
	close(f.wait)
	wg.Wait()
	if resp, body := (call{"GET", "/api/v1/query", "query=a"}).do(t, srv.URL); resp.StatusCode != 200 {
		t.Errorf("after them: %d %s", resp.StatusCode, body)
	}
}

// A client that goes away cancels its query.
func TestCanceledByClient(t *testing.T) {
	f := &faulty{wait: make(chan struct{})}
	srv := serve(t, promql.Options{Queryable: f, Concurrency: 1, Timeout: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/v1/query?query=a", nil)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Fatal("there was an answer")
	}
	// Its slot is free again, else this one would wait for a minute and fail.
	done := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		if resp, err := http.Get(srv.URL + "/api/v1/query?query=1%2B1"); err == nil {
			b.ReadFrom(resp.Body)
			resp.Body.Close()
		}
		done <- b.Bytes()
	}()
	select {
	case b := <-done:
		if !bytes.Contains(b, []byte(`"scalar"`)) {
			t.Errorf("got %s", b)
		}
	case <-time.After(50 * time.Second):
		t.Fatal("the slot of a canceled query is not free")
	}
}
