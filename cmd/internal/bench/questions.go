package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// Questions are the questions to a loaded server, about the hour that ends at end (ms). The load
// must have at least 100 series of each metric for all of them to be about as many series as they say.
func Questions(series int, end int64) []Question {
	hour := time.Hour.Milliseconds()
	from := end - hour
	room := fmt.Sprintf(`temperature{room=%q}`, workload.Room(0)) // 100 series
	wide, many := `temperature`, series/len(workload.Metrics())   // 10,000 series or fewer
	if many > 10_000 {
		many = 10_000
		wide = fmt.Sprintf(`temperature{room=~"%s"}`, rooms(10_000/workload.RoomDevices))
	}
	some := min(many, 2000)
	counters := strings.Replace(wide, "temperature", "energy_wh_total", 1)
	step := func(id, name, q string, step time.Duration) Question {
		return Question{ID: id, Name: name, Path: "/api/v1/query_range", Params: ranged(q, from, end, step)}
	}
	at := func(id, name, q string) Question {
		return Question{ID: id, Name: name, Path: "/api/v1/query", Params: instant(q, end)}
	}
	lists := func(id, name, path, match string) Question {
		return Question{ID: id, Name: name, Path: path, Params: url.Values{"match[]": {match}, "start": {seconds(from)}, "end": {seconds(end)}, "nocache": {"1"}}}
	}
	one := workload.Device(0)
	return []Question{
		step("one", "one series, 1 h range", fmt.Sprintf(`temperature{device_id=%q}`, one), 10*time.Second),
		at("avg_over_time", "avg_over_time, 100 series × 1 h", fmt.Sprintf("avg_over_time(%s[1h])", room)),
		at("max_over_time", fmt.Sprintf("max(max_over_time), %d series × 1 h", many), fmt.Sprintf("max(max_over_time(%s[1h]))", wide)),
		step("avg_by", fmt.Sprintf("avg by (site), %d series × 1 h, 60 s", many), fmt.Sprintf("avg by (site) (%s)", wide), time.Minute),
		step("rate", fmt.Sprintf("sum by (building) (rate[5m]), %d series × 1 h, 60 s", many), fmt.Sprintf("sum by (building) (rate(%s[5m]))", counters), time.Minute),
		lists("label_values", fmt.Sprintf("label values, %d", many), "/api/v1/label/device_id/values", wide),
		lists("series", fmt.Sprintf("series of %d", some), "/api/v1/series", fmt.Sprintf(`temperature{room=~"%s"}`, rooms(2000/workload.RoomDevices))),
	}
}

// Aggregates are the questions to POST /query, which MiniTrue alone has.
func Aggregates(end int64) []Question {
	type body map[string]any
	return []Question{
		{Name: "POST /query, one series, 1 h", Path: "/query", Body: body{
			"device_id": workload.Device(0), "metric_name": "temperature", "operation": "avg",
			"start_time": (end - time.Hour.Milliseconds()) / 1000, "end_time": end / 1000}},
		{Name: "POST /query, 100 sensors, whole history", Path: "/query", Body: body{
			"matchers": fmt.Sprintf(`temperature{room=%q}`, workload.Room(0)), "operation": "avg", "start_time": 0, "end_time": 0}},
	}
}

// rooms is a pattern of the first n rooms.
func rooms(n int) string {
	pattern := workload.Room(0)
	for i := 1; i < n; i++ {
		pattern += "|" + workload.Room(i)
	}
	return pattern
}

// LastSample finds the time of the newest sample of the load's first series, in milliseconds. It looks
// back a week from now.
func LastSample(ctx context.Context, base string, now time.Time) (int64, error) {
	client := newClient(1)
	defer client.CloseIdleConnections()
	q := Question{Path: "/api/v1/query", Params: instant(fmt.Sprintf(`temperature{device_id=%q}[7d]`, workload.Device(0)), now.UnixMilli())}
	body, status, err := q.ask(ctx, client, base)
	if err != nil {
		return 0, fmt.Errorf("find the newest sample: %w", err)
	}
	var a struct {
		Data struct {
			Result []struct {
				Values [][2]json.RawMessage `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("find the newest sample: %d: %.200s", status, body)
	}
	if len(a.Data.Result) == 0 || len(a.Data.Result[0].Values) == 0 {
		return 0, errors.New("find the newest sample: there is no load of `minitruectl bench load` in the last week")
	}
	values := a.Data.Result[0].Values
	var t model.Time
	if err := t.UnmarshalJSON(values[len(values)-1][0]); err != nil {
		return 0, fmt.Errorf("find the newest sample: %w", err)
	}
	return int64(t), nil
}

// Count counts by PromQL the samples that a server has of a shape, in parts that no server's limits forbid.
func Count(ctx context.Context, base string, s workload.Shape) (n int64, err error) {
	window := time.Duration(int64(s.Samples)*s.Interval) * time.Millisecond // left-open: the first sample is in it
	for _, metric := range workload.Metrics() {
		for site := range workload.Sites {
			q := fmt.Sprintf("sum(count_over_time(%s{site=%q}[%s]))", metric, workload.Site(site), model.Duration(window))
			v, err := Scalar(ctx, base, q, s.End())
			if err != nil {
				return n, err
			}
			n += int64(v)
		}
	}
	return n, nil
}
