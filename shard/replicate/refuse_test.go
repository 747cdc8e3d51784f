package replicate

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
)

func isBad(ts *prompb.TimeSeries) bool {
	return ts.Labels[1].Value == "7" || ts.Labels[1].Value == "500"
}

func storesTheRest(w http.ResponseWriter, _ *http.Request, m *prompb.WriteRequest) (answered, stored bool) {
	var rest []prompb.TimeSeries
	for _, ts := range m.Timeseries {
		if !isBad(&ts) {
			rest = append(rest, ts)
		}
	}
	refused := len(rest) < len(m.Timeseries)
	m.Timeseries = rest
	if refused {
		h := w.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(len(rest)))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
		http.Error(w, "number 7 is bad", http.StatusBadRequest)
	}
	return refused, refused
}

func storesNothing(w http.ResponseWriter, _ *http.Request, m *prompb.WriteRequest) (answered, stored bool) {
	for i := range m.Timeseries {
		if isBad(&m.Timeseries[i]) {
			http.Error(w, "number 7 is bad", http.StatusBadRequest)
			return true, false
		}
	}
	return false, false
}

func takesLittle(w http.ResponseWriter, _ *http.Request, m *prompb.WriteRequest) (answered, stored bool) {
	if len(m.Timeseries) > 100 {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true, false
	}
	return false, false
}

// A target refuses some series. The others arrive, whether it says how much it stored, as this store does, or stores nothing of what it refuses, as
// Prometheus does, or finds requests too large.
func TestRefusals(t *testing.T) {
	rows := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, m *prompb.WriteRequest) (bool, bool)
		lost   int
		most   int64 // requests
	}{
		{"it stores the rest", storesTheRest, 2, lanes},
		{"it stores nothing", storesNothing, 2, lanes * 2 * maxHalves},
		{"it takes little at once", takesLittle, 0, lanes * 31},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			other, log := newOther(t), &logged{}
			other.answer = row.answer
			r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, other.URL)
			start(t, r)
			put(t, r, batchOf(3000, 1, 1))
			tg := r.targets[0]
			until(t, "nothing waits", func() bool { return tg.queue.Pending(queueName) == 0 })
			if got := other.has(); got != 3000-row.lost {
				t.Errorf("%d samples arrived of 3000", got)
			}
			if n := other.requests.Load(); n > row.most {
				t.Errorf("%d requests", n)
			}
			if sent, refused := testutil.ToFloat64(tg.m.sent), testutil.ToFloat64(tg.m.refused); sent != float64(3000-row.lost) || refused != float64(row.lost) {
				t.Errorf("%v are counted as sent and %v as refused", sent, refused)
			}
			if row.lost > 0 != strings.Contains(log.String(), "number 7 is bad") {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

// A target that refuses everything holds nothing up, and is not asked about every series.
func TestAllIsRefused(t *testing.T) {
	other := newOther(t)
	other.answer = func(w http.ResponseWriter, _ *http.Request, _ *prompb.WriteRequest) (bool, bool) {
		http.Error(w, "never", http.StatusBadRequest)
		return true, false
	}
	r := newReplicator(t, t.TempDir(), &ownCluster{}, Options{}, other.URL)
	start(t, r)
	put(t, r, batchOf(5000, 1, 1))
	tg := r.targets[0]
	until(t, "nothing waits", func() bool { return tg.queue.Pending(queueName) == 0 })
	if n := testutil.ToFloat64(tg.m.refused); n != 5000 {
		t.Errorf("%v samples are counted as refused", n)
	}
	if n := other.requests.Load(); n > lanes*(2*maxHalves+1) {
		t.Errorf("it was asked %d times", n)
	}
}
