package promql

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// BuildInfo is the answer of status/buildinfo. Grafana takes Version for that
// of a Prometheus and chooses by it which parameters it may use.
type BuildInfo struct {
	Application string `json:"application,omitempty"`
	Version     string `json:"version"`
	Revision    string `json:"revision"`
	Branch      string `json:"branch"`
	BuildUser   string `json:"buildUser"`
	BuildDate   string `json:"buildDate"`
	GoVersion   string `json:"goVersion"` // empty means that of this program
}

// TSDBStatus is the answer of status/tsdb.
type TSDBStatus struct {
	HeadStats                   HeadStats `json:"headStats"`
	SeriesCountByMetricName     []Stat    `json:"seriesCountByMetricName"`
	LabelValueCountByLabelName  []Stat    `json:"labelValueCountByLabelName"`
	MemoryInBytesByLabelName    []Stat    `json:"memoryInBytesByLabelName"`
	SeriesCountByLabelValuePair []Stat    `json:"seriesCountByLabelValuePair"`
	Quarantine                  []string  `json:"quarantine,omitempty"` // MiniTrue's own: damaged blocks that were set aside
}

// HeadStats are figures of the head; times are in milliseconds.
type HeadStats struct {
	NumSeries     uint64 `json:"numSeries"`
	NumLabelPairs int    `json:"numLabelPairs"`
	ChunkCount    int64  `json:"chunkCount"`
	MinTime       int64  `json:"minTime"`
	MaxTime       int64  `json:"maxTime"`
}

// Stat is one row of a list of TSDBStatus; lists begin with the largest value.
type Stat struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

func (a *API) buildInfo(*http.Request) (reply, error) { return jsonReply(a.o.Build) }
func (a *API) flags(*http.Request) (reply, error)     { return jsonReply(a.o.Flags) }

func (a *API) config(*http.Request) (reply, error) {
	return jsonReply(map[string]string{"yaml": a.o.Config})
}

func (a *API) runtimeInfo(*http.Request) (reply, error) {
	dir, _ := os.Getwd()     // empty when it is unknown
	host, _ := os.Hostname() // likewise
	var corruptions int64
	if a.o.Corruptions != nil {
		corruptions = a.o.Corruptions()
	}
	return jsonReply(struct {
		StartTime       time.Time `json:"startTime"`
		CWD             string    `json:"CWD"`
		Hostname        string    `json:"hostname"`
		ServerTime      time.Time `json:"serverTime"`
		ReloadSuccess   bool      `json:"reloadConfigSuccess"`
		LastConfigTime  time.Time `json:"lastConfigTime"`
		CorruptionCount int64     `json:"corruptionCount"`
		GoroutineCount  int       `json:"goroutineCount"`
		GOMAXPROCS      int       `json:"GOMAXPROCS"`
		GOMEMLIMIT      int64     `json:"GOMEMLIMIT"`
		GOGC            string    `json:"GOGC"`
		GODEBUG         string    `json:"GODEBUG"`
		Retention       string    `json:"storageRetention"`
	}{
		a.o.Started.UTC(), dir, host, a.o.Now().UTC(), true, a.o.Started.UTC(), corruptions,
		runtime.NumGoroutine(), runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1), os.Getenv("GOGC"), os.Getenv("GODEBUG"), a.o.Retention,
	})
}

const maxTSDBRows = 10_000

func (a *API) tsdb(r *http.Request) (reply, error) {
	limit := 10
	if s := r.Form.Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 {
			return reply{}, badData(errors.New("limit must be a positive number"))
		}
		if limit > maxTSDBRows {
			return reply{}, badData(fmt.Errorf("limit must not exceed %d", maxTSDBRows))
		}
	}
	st := TSDBStatus{HeadStats: HeadStats{MinTime: math.MaxInt64, MaxTime: math.MinInt64}}
	if a.o.TSDB != nil {
		st = a.o.TSDB(limit)
	}
	for _, list := range []*[]Stat{
		&st.SeriesCountByMetricName, &st.LabelValueCountByLabelName,
		&st.MemoryInBytesByLabelName, &st.SeriesCountByLabelValuePair,
	} {
		if *list == nil {
			*list = []Stat{}
		}
		*list = (*list)[:min(len(*list), limit)]
	}
	return jsonReply(st)
}

// The rest is what a Prometheus answers that has no rules and scrapes nothing.
// Clients ask for it without being able to know better.

func (a *API) rules(r *http.Request) (reply, error) {
	if _, err := a.matchParam(r); err != nil {
		return reply{}, badData(err)
	}
	if typ := strings.ToLower(r.Form.Get("type")); typ != "" && typ != "alert" && typ != "record" {
		return reply{}, badParam("type", fmt.Errorf("not supported value %q", typ))
	}
	return jsonReply(map[string]any{"groups": []any{}})
}

func (a *API) alerts(*http.Request) (reply, error) {
	return jsonReply(map[string]any{"alerts": []any{}})
}

func (a *API) targets(*http.Request) (reply, error) {
	return jsonReply(map[string]any{"activeTargets": []any{}, "droppedTargets": []any{}, "droppedTargetCounts": map[string]int{}})
}

func (a *API) targetMetadata(*http.Request) (reply, error) { return jsonReply([]any{}) }

func (a *API) scrapePools(*http.Request) (reply, error) {
	return jsonReply(map[string]any{"scrapePools": []any{}})
}

func (a *API) alertmanagers(*http.Request) (reply, error) {
	return jsonReply(map[string]any{"activeAlertmanagers": []any{}, "droppedAlertmanagers": []any{}})
}
