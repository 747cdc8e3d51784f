package promql

import (
	"encoding/json"
	"strconv"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	prom "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"
)

// queryData writes the result of a query, and its statistics unless they are nil.
func (e *encoder) queryData(v parser.Value, st stats.QueryStats) {
	e.raw(`{"resultType":"`)
	e.raw(string(v.Type()))
	e.raw(`","result":`)
	switch v := v.(type) {
	case prom.Vector:
		e.vector(v)
	case prom.Matrix:
		e.matrix(v)
	case prom.Scalar:
		e.buf = appendTime(append(e.buf, '['), v.T)
		e.raw(`,"`)
		e.buf = strconv.AppendFloat(e.buf, v.V, 'f', -1, 64)
		e.raw(`"]`)
	case prom.String:
		e.buf = appendTime(append(e.buf, '['), v.T)
		e.raw(",")
		e.string(v.V)
		e.raw("]")
	}
	if st != nil {
		b, err := json.Marshal(st.Builtin())
		if err != nil && e.err == nil {
			e.err = err
		}
		e.raw(`,"stats":`)
		e.buf = append(e.buf, b...)
	}
	e.raw("}")
}

func (e *encoder) vector(v prom.Vector) {
	e.raw("[")
	var at []byte // the time of them all
	for i := range v {
		s := &v[i]
		if i == 0 || s.T != v[i-1].T {
			at = append(appendTime(append(at[:0], `,"value":[`...), s.T), `,`...)
		}
		if i > 0 {
			e.raw(",")
		}
		e.raw(`{"metric":`)
		e.labels(s.Metric)
		if s.H == nil {
			e.buf = append(appendQuoted(append(e.buf, at...), s.F), ']')
			e.spill()
		} else {
			e.raw(`,"histogram":`)
			e.histogram(s.T, s.H)
		}
		e.raw("}")
		if e.err != nil {
			return
		}
	}
	e.raw("]")
}

func (e *encoder) matrix(m prom.Matrix) {
	e.raw("[")
	for i := range m {
		s := &m[i]
		if i > 0 {
			e.raw(",")
		}
		e.raw(`{"metric":`)
		e.labels(s.Metric)
		open := `,"values":[`
		for _, p := range s.Floats {
			e.raw(open)
			open = ","
			e.float(p.T, p.F)
		}
		if len(s.Floats) > 0 {
			e.raw("]")
		}
		open = `,"histograms":[`
		for _, p := range s.Histograms {
			e.raw(open)
			open = ","
			e.histogram(p.T, p.H)
		}
		if len(s.Histograms) > 0 {
			e.raw("]")
		}
		e.raw("}")
		if e.err != nil {
			return
		}
	}
	e.raw("]")
}

func (e *encoder) float(t int64, f float64) {
	b := appendTime(append(e.buf, '['), t)
	b = appendQuoted(append(b, ','), f)
	e.buf = append(b, ']')
	e.spill()
}

func (e *encoder) histogram(t int64, h *histogram.FloatHistogram) {
	b := appendTime(append(e.buf, '['), t)
	b = appendHistogram(append(b, ','), h)
	e.buf = append(b, ']')
	e.spill()
}

// labelSets writes the answer of series.
func (e *encoder) labelSets(sets []labels.Labels) {
	e.raw("[")
	for i, ls := range sets {
		if i > 0 {
			e.raw(",")
		}
		e.buf = appendLabels(e.buf, ls)
		e.spill()
	}
	e.raw("]")
}

// exemplars writes the answer of query_exemplars.
func (e *encoder) exemplars(res []exemplar.QueryResult) {
	e.raw("[")
	for i, s := range res {
		if i > 0 {
			e.raw(",")
		}
		e.raw(`{"seriesLabels":`)
		e.buf = appendLabels(e.buf, s.SeriesLabels)
		e.raw(`,"exemplars":[`)
		for j, x := range s.Exemplars {
			if j > 0 {
				e.raw(",")
			}
			e.raw(`{"labels":`)
			e.buf = appendLabels(e.buf, x.Labels)
			e.buf = appendQuoted(append(e.buf, `,"value":`...), x.Value)
			e.buf = appendTime(append(e.buf, `,"timestamp":`...), x.Ts)
			e.raw("}")
			e.spill()
		}
		e.raw("]}")
	}
	e.raw("]")
}
