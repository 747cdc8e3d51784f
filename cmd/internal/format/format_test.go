package format

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/fixture"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

func write(t *testing.T, name string, runs []flow.Run) ([]byte, Skipped) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(name, &b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range runs {
		if err := w.Write(&runs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w.Skipped()
}

// readAll reads a file from a position.
func readAll(name string, b []byte, from int64, emit Emit, mark Mark) error {
	switch name {
	case "csv":
		return ReadCSV(bytes.NewReader(b), Columns{}, from, emit, mark)
	case "jsonl":
		return ReadJSON(bytes.NewReader(b), from, emit, mark)
	case "parquet":
		return ReadParquet(bytes.NewReader(b), int64(len(b)), from, emit, mark)
	}
	return ReadOpenMetrics(bytes.NewReader(b), 0, from, emit, mark)
}

func keep(all *[]flow.Run) Emit {
	return func(r *flow.Run) error {
		c := *r
		c.Floats = slices.Clone(r.Floats)
		*all = append(*all, c)
		return nil
	}
}

func noMark(int64) error { return nil }

// Out and in again is the identity for everything that a format carries.
func TestIdentity(t *testing.T) {
	for _, name := range Formats {
		t.Run(name, func(t *testing.T) {
			shape := fixture.Shape{Histograms: name == "jsonl", Payloads: name != "openmetrics", Names: true}
			for seed := range uint64(150) {
				want := fixture.Runs(rand.New(rand.NewPCG(seed, 7)), int(seed%40), shape)
				raw, skipped := write(t, name, want)
				var got []flow.Run
				if err := readAll(name, raw, 0, keep(&got), noMark); err != nil {
					t.Fatalf("seed %d: %v\n%.2000s", seed, err, raw)
				}
				if d := fixture.Diff(want, got); d != "" || skipped.Any() {
					t.Fatalf("seed %d: %s, skipped %s\n%.2000s", seed, d, skipped, raw)
				}
			}
		})
	}
}

// What a format cannot carry is counted.
func TestSkipped(t *testing.T) {
	want := fixture.Runs(rand.New(rand.NewPCG(1, 1)), 50, fixture.Shape{Histograms: true, Payloads: true})
	floats, histograms := 0, 0
	for _, r := range want {
		floats += len(r.Floats)
		histograms += len(r.Histograms)
	}
	for _, name := range Formats {
		raw, s := write(t, name, want)
		var got []flow.Run
		if err := readAll(name, raw, 0, keep(&got), noMark); err != nil {
			t.Fatal(err)
		}
		n, h := 0, 0
		for _, r := range got {
			n += len(r.Floats)
			h += len(r.Histograms)
		}
		if n+int(s.Stale) != floats || h+int(s.Histograms) != histograms {
			t.Errorf("%s: %d of %d floats and %d of %d histograms came back, skipped %+v", name, n, floats, h, histograms, s)
		}
		if (name == "openmetrics") != (s.Payloads > 0 && s.Stale > 0) || (name == "jsonl") == (s.Histograms > 0) {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// A reader that begins at a mark reads what was behind it, no less and no more.
func TestMarks(t *testing.T) {
	var want []flow.Run
	for i := range 30 {
		r := flow.Run{Labels: labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))}
		for n := range 2000 {
			r.Floats = append(r.Floats, series.Sample{T: int64(n) * 1000, V: fixture.Value(i, n)})
		}
		want = append(want, r)
	}
	for _, name := range Formats {
		raw, _ := write(t, name, want)
		var before []flow.Run
		var positions []int64
		var sizes []int
		err := readAll(name, raw, 0, keep(&before), func(p int64) error {
			positions, sizes = append(positions, p), append(sizes, len(before))
			return nil
		})
		if err != nil || len(positions) < 2 {
			t.Fatal(name, positions, err)
		}
		for i, p := range positions {
			got := slices.Clone(before[:sizes[i]])
			if err := readAll(name, raw, p, keep(&got), noMark); err != nil {
				t.Fatal(err)
			}
			if d := fixture.Diff(want, got); d != "" {
				t.Fatalf("%s from %d: %s", name, p, d)
			}
		}
	}
}

// Prometheus's own parser reads the same from our OpenMetrics, times to the millisecond.
func TestOpenMetricsAsPrometheusReadsIt(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		want := fixture.Runs(rng, 20, fixture.Shape{Names: true})
		for i := range want {
			for j := range want[i].Floats {
				want[i].Floats[j].T = rng.Int64N(4e12) - 1e11
			}
		}
		want = slices.DeleteFunc(want, func(r flow.Run) bool { return strings.Contains(r.Labels.String(), `\x00`) }) // which is its end of text
		raw, _ := write(t, "openmetrics", want)
		p := textparse.NewOpenMetricsParser(raw, labels.NewSymbolTable())
		var got []flow.Run
		for {
			e, err := p.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v in\n%s", seed, err, raw)
			}
			if e != textparse.EntrySeries {
				continue
			}
			_, ts, v := p.Series()
			var ls labels.Labels
			p.Labels(&ls)
			got = append(got, flow.Run{Labels: ls.Copy(), Floats: []series.Sample{{T: *ts, V: v}}})
		}
		if d := fixture.Diff(want, got); d != "" {
			t.Fatalf("seed %d: %s", seed, d)
		}
	}
}

func TestOpenMetricsText(t *testing.T) {
	const in = `# HELP http_requests Of all \"kinds\".\nReally.
# TYPE http_requests counter
http_requests_total{code="200"} 5 1767225600.5 # {trace_id="a\"b"} 3 1767225600.25
http_requests_total{code="500",} 1e3 1767225600
http_requests_created{code="200"} 1.7e9 1.7672256e9
# TYPE latency_seconds histogram
# UNIT latency_seconds seconds
latency_seconds_bucket{le="+Inf"} 17 -0.0015
latency_seconds_count 17
{"a metric","a label"="x"} +Inf 0.0004999
up NaN 1
# EOF
`
	var got []string
	err := ReadOpenMetrics(strings.NewReader(in), 42, 0, func(r *flow.Run) error {
		got = append(got, fmt.Sprint(r.Labels, r.Floats, r.Exemplars, r.About))
		return nil
	}, noMark)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{__name__="http_requests_total", code="200"} [{1767225600500 5}] [{{trace_id="a\"b"} 3 1767225600250 true}] &{http_requests counter  Of all "kinds".` + "\nReally.}",
		`{__name__="http_requests_total", code="500"} [{1767225600000 1000}] [] &{http_requests counter  Of all "kinds".` + "\nReally.}",
		`{__name__="http_requests_created", code="200"} [{1767225600000 1.7e+09}] [] &{http_requests counter  Of all "kinds".` + "\nReally.}",
		`{__name__="latency_seconds_bucket", le="+Inf"} [{-2 17}] [] &{latency_seconds histogram seconds }`,
		`{__name__="latency_seconds_count"} [{42 17}] [] &{latency_seconds histogram seconds }`,
		`{__name__="a metric", "a label"="x"} [{0 +Inf}] [] <nil>`,
		`{__name__="up"} [{1000 NaN}] [] <nil>`,
	}
	for i := range max(len(want), len(got)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("row %d of\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, bad := range []string{
		"up 1 1\n", "up 1 1\n# EOF\nup 1 2\n", "up\n# EOF\n", "up x\n# EOF\n", "up 1 x\n# EOF\n", "up{a=\"b} 1\n# EOF\n", "up{a=b} 1\n# EOF\n",
		"up{a=\"b\",a=\"c\"} 1\n# EOF\n", "{} 1\n# EOF\n", "up 1 1 # {a=\"b\" 1\n# EOF\n", "up 1 1 2\n# EOF\n", "up 1 1e99\n# EOF\n", "up 1_0 1\n# EOF\n",
	} {
		if err := ReadOpenMetrics(strings.NewReader(bad), 0, 0, func(*flow.Run) error { return nil }, noMark); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

type forever struct{}

func (forever) Read(p []byte) (int, error) { return copy(p, strings.Repeat("x", len(p))), nil }

func TestDecimal(t *testing.T) {
	for _, row := range []struct {
		in    string
		shift int
		want  int64
		ok    bool
	}{
		{"0", 3, 0, true}, {"1.0005", 3, 1001, true}, {"-1.0005", 3, -1001, true}, {"1.00049999", 3, 1000, true}, {".5", 3, 500, true}, {"5.", 3, 5000, true},
		{"1767225600123", 0, 1767225600123, true}, {"1767225600123456", -3, 1767225600123, true}, {"499", -3, 0, true}, {"500", -3, 1, true}, {"4", -3, 0, true},
		{"9223372036854775.807", 3, 9223372036854775807, true}, {"9223372036854775.808", 3, 0, false}, {"-9223372036854775.808", 3, -9223372036854775808, true},
		{"1.767225600123e9", 3, 1767225600123, true}, {"1e99", 3, 0, false}, {"", 3, 0, false}, {"-", 3, 0, false}, {".", 3, 0, false}, {"x", 3, 0, false}, {"NaN", 3, 0, false}, {"1e999999999", 3, 0, false},
	} {
		got, err := decimal(row.in, row.shift)
		if got != row.want || (err == nil) != row.ok {
			t.Errorf("%q: %d, %v", row.in, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	runs := fixture.Runs(rand.New(rand.NewPCG(1, 2)), 5, fixture.Shape{Names: true})
	for i, name := range Formats {
		var b bytes.Buffer
		w, err := NewWriter(name, &b)
		if err != nil {
			f.Fatal(err)
		}
		for i := range runs {
			if err := w.Write(&runs[i]); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), b.Bytes())
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		name := Formats[int(which)%len(Formats)]
		var got []flow.Run
		if readAll(name, b, 0, keep(&got), noMark) != nil {
			return
		}
		write(t, name, got) // what can be read can be written
	})
}
