package format

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/cmd/internal/flow"
)

func TestCSVColumns(t *testing.T) {
	for _, row := range []struct {
		name string
		c    Columns
		in   string
		want string // or the error
	}{
		{"ours", Columns{}, "metric,labels,timestamp,value\nt,\"{\"\"a\"\":\"\"b\"\"}\",5,1.5\n", `{__name__="t", a="b"}[{5 1.5}]`},
		{"wide", Columns{Time: "time", TimeFormat: "s", Values: []string{"temp", "hum"}, Each: map[string]string{"dev": "device_id"}},
			"time,dev,temp,hum\n1.5,x,21,\n2,x,22,50\n", `{__name__="temp", device_id="x"}[{1500 21} {2000 22}] {__name__="hum", device_id="x"}[{2000 50}]`},
		{"one value names the metric", Columns{Time: "t", Values: []string{"temp"}}, "t,temp\n1,2\n", `{__name__="temp"}[{1 2}]`},
		{"fixed", Columns{Time: "1", Values: []string{"2"}, NoHeader: true, Comma: ';', TimeFormat: "rfc3339", Fixed: map[string]string{"__name__": "m", "site": "a"}},
			"2026-01-01T00:00:00.25+01:00;3\n", `{__name__="m", site="a"}[{1767222000250 3}]`},
		{"us", Columns{TimeFormat: "us", Fixed: map[string]string{"__name__": "m"}}, "timestamp,value\n1767225600123456,1\n", `{__name__="m"}[{1767225600123 1}]`},
		{"byte order mark", Columns{Fixed: map[string]string{"__name__": "m"}}, "\ufefftimestamp,value\n1,1\n", `{__name__="m"}[{1 1}]`},
		{"empty", Columns{}, "", ""},
		{"no column", Columns{}, "a,b\n1,2\n", "error: there is no column \"timestamp\""},
		{"no metric", Columns{}, "timestamp,value\n1,2\n", "error: line 2: the row has no metric name"},
		{"bad value", Columns{Fixed: map[string]string{"__name__": "m"}}, "timestamp,value\n1,x\n", "error: line 2: \"x\" is not a number"},
		{"bad time", Columns{Fixed: map[string]string{"__name__": "m"}, TimeFormat: "rfc3339"}, "timestamp,value\n1,1\n", "error: line 2: time \"1\""},
		{"bad labels", Columns{}, "metric,labels,timestamp,value\nm,a=b,1,1\n", "error: line 2: labels \"a=b\""},
		{"fields", Columns{}, "metric,labels,timestamp,value\nm,1\n", "error: record on line 2: wrong number of fields"},
	} {
		var got []string
		err := ReadCSV(strings.NewReader(row.in), row.c, 0, func(r *flow.Run) error {
			got = append(got, r.Labels.String()+fmt.Sprint(r.Floats))
			return nil
		}, noMark)
		text := strings.Join(got, " ")
		if err != nil {
			text = strings.Replace(err.Error(), "read CSV: ", "error: ", 1)
		}
		if strings.HasPrefix(row.want, "error") && !strings.HasPrefix(text, row.want) || !strings.HasPrefix(row.want, "error") && text != row.want {
			t.Errorf("%s: %s, want %s", row.name, text, row.want)
		}
	}
	if err := ReadCSV(io.MultiReader(strings.NewReader("metric,labels,timestamp,value\n\""), forever{}), Columns{}, 0, keep(new([]flow.Run)), noMark); err == nil {
		t.Error("a row without end is read")
	}
}
