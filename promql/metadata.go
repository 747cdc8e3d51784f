package promql

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"

	"github.com/minitrue/minitrue/chunk/series"
)

// description is metadata of a metric family, as JSON.
type description struct {
	Type model.MetricType `json:"type"`
	Unit string           `json:"unit"`
	Help string           `json:"help"`
}

// countParam reads a number; absent or negative means no bound.
func countParam(r *http.Request, name string) (int, error) {
	s := r.Form.Get(name)
	if s == "" {
		return -1, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, badData(errors.New(name + " must be a number"))
	}
	return n, nil
}

func (a *API) metadata(r *http.Request) (reply, error) {
	limit, err := countParam(r, "limit")
	if err != nil {
		return reply{}, err
	}
	perMetric, err := countParam(r, "limit_per_metric")
	if err != nil {
		return reply{}, err
	}
	families := map[string][]description{}
	metric := r.Form.Get("metric")
	if a.o.Metadata != nil {
		a.o.Metadata.Metadata(func(m series.Metadata) bool {
			if metric != "" && m.Family != metric {
				return true
			}
			ds, known := families[m.Family]
			if !known && limit >= 0 && len(families) >= limit {
				return true // a family that is in may get more descriptions
			}
			d := description{m.Type, m.Unit, m.Help}
			if perMetric > 0 && len(ds) >= perMetric || slices.Contains(ds, d) {
				return true
			}
			families[m.Family] = append(ds, d)
			return true
		})
	}
	return jsonReply(families)
}
