package promql_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/minitrue/minitrue/promql"
)

func ExampleAPI() {
	store, err := teststorage.NewWithError() // anything that is a storage.Queryable
	if err != nil {
		panic(err)
	}
	defer store.Close()
	app := store.Appender(context.Background())
	app.Append(0, labels.FromStrings("__name__", "temperature", "device_id", "sensor-1"), 1_700_000_000_000, 21.5)
	app.Commit()

	api := promql.NewAPI(promql.Options{Queryable: store})
	defer api.Close()
	srv := httptest.NewServer(api.Handler())
	defer srv.Close()

	resp, err := srv.Client().Get(srv.URL + "/api/v1/query?query=temperature&time=1700000060")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: {"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"temperature","device_id":"sensor-1"},"value":[1700000060,"21.5"]}]}}
}
