package contest

import (
	"math"
	"strings"
	"testing"
)

func vector(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `]}}`
}

func answer(t *testing.T, body string) Answer {
	t.Helper()
	a, err := parseAnswer([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAnswer(t *testing.T) {
	rows := []struct {
		name, body, key string
		series          int
		want            []Point
	}{
		{"vector", vector(`{"metric":{"site":"a"},"value":[1700000000.25,"NaN"]}`), `{site="a"}`, 1, []Point{{1700000000250, math.NaN()}}},
		{"matrix", vector(`{"metric":{},"values":[[1,"0.1"],[2.5,"-Inf"]]}`), `{}`, 1, []Point{{1000, 0.1}, {2500, math.Inf(-1)}}},
		{"values of a label", `{"status":"success","data":["b","a"]}`, "a", 2, nil},
		{"series", `{"status":"success","data":[{"b":"1","a":"2"}]}`, `{a="2", b="1"}`, 1, nil},
		{"nothing", vector(), "", 0, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := answer(t, row.body)
			got, ok := a[row.key]
			if len(a) != row.series || row.series > 0 && !ok {
				t.Fatalf("%v", a)
			}
			if d := compare(Answer{"x": row.want}, Answer{"x": got}); d != (Difference{}) {
				t.Errorf("%+v", d)
			}
		})
	}
	for _, body := range []string{"", "{}", `{"status":"error","data":[]}`, `{"status":"success"}`,
		vector(`{"metric":{},"value":[1]}`), vector(`{"metric":{},"value":["x","1"]}`), vector(`{"metric":{},"value":[1,"x"]}`), vector(`{"metric":{},"value":[1,2]}`),
		vector(`{"metric":{},"value":[1,"1"]}`, `{"metric":{},"value":[1,"1"]}`), `{"status":"success","data":["a","a"]}`, `{"status":"success","data":[1]}`} {
		if a, err := parseAnswer([]byte(body)); err == nil {
			t.Errorf("%s was read as %v", body, a)
		}
	}
}

func TestCompareFindsDifferences(t *testing.T) {
	want := Answer{`{a="1"}`: {{1, 10}, {2, 20}}, `{a="2"}`: {{1, math.NaN()}}}
	rows := []struct {
		name  string
		got   Answer
		shape string
		value float64
	}{
		{"the same", Answer{`{a="1"}`: {{1, 10}, {2, 20}}, `{a="2"}`: {{1, math.NaN()}}}, "", 0},
		{"a value", Answer{`{a="1"}`: {{1, 10}, {2, 25}}, `{a="2"}`: {{1, math.NaN()}}}, "", 0.2},
		{"NaN", Answer{`{a="1"}`: {{1, 10}, {2, 20}}, `{a="2"}`: {{1, 0}}}, "", math.Inf(1)},
		{"a time", Answer{`{a="1"}`: {{1, 10}, {3, 20}}, `{a="2"}`: {{1, math.NaN()}}}, "has a point at 3, want 2", 0},
		{"a point less", Answer{`{a="1"}`: {{1, 10}}, `{a="2"}`: {{1, math.NaN()}}}, "has 1 points, want 2", 0},
		{"a series less", Answer{`{a="1"}`: {{1, 10}, {2, 20}}}, `{a="2"} is missing`, 0},
		{"a series more", Answer{`{a="1"}`: {{1, 10}, {2, 20}}, `{a="2"}`: {{1, math.NaN()}}, `{a="3"}`: nil}, `{a="3"} is there`, 0},
	}
	for _, row := range rows {
		d := compare(want, row.got)
		if d.Value != row.value || !strings.Contains(d.Shape, row.shape) || (row.shape == "") != (d.Shape == "") {
			t.Errorf("%s: %+v", row.name, d)
		}
	}
}

func TestNameless(t *testing.T) {
	a := Answer{`{__name__="x"}`: {{1, 1}}, `{__name__="x", a="1"}`: {{1, 2}}, `{b="2"}`: {{1, 3}}}
	want := Answer{`{}`: {{1, 1}}, `{a="1"}`: {{1, 2}}, `{b="2"}`: {{1, 3}}}
	if d := compare(want, a.nameless()); d != (Difference{}) {
		t.Errorf("%+v", d)
	}
	if got := (Answer{`{__name__="x"}`: nil, `{__name__="y"}`: nil}).nameless(); got != nil {
		t.Errorf("two series became one: %v", got)
	}
}
