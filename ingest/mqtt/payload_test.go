package mqtt

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

const receipt0 = int64(1_600_000_000_123) // the time of receipt in these tests

// told renders what was parsed: samples, then reasons.
func told(t testing.TB, p *parsed) (out []string) {
	t.Helper()
	start := 0
	for _, it := range p.items {
		var names []string
		if err := series.EachLabel(p.keys[start:it.end], func(n, v string) { names = append(names, n+"="+v) }); err != nil {
			t.Fatal(err)
		}
		start = it.end
		out = append(out, fmt.Sprintf("%s@%d=%x", strings.Join(names, ","), it.t, math.Float64bits(it.v)))
	}
	for _, f := range p.flaws {
		out = append(out, "!"+f.reason)
		if f.err == nil || f.err.Error() == "" {
			t.Errorf("reason %s has no text", f.reason)
		}
	}
	return out
}

func sample(metric, device string, at int64, v float64) string {
	return fmt.Sprintf("__name__=%s,device_id=%s@%d=%x", metric, device, at, math.Float64bits(v))
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	rows := []struct {
		name, topic, payload string
		want                 []string
	}{
		{"documented", "temperature", `{"device_id":"d1","metric_name":"temp","timestamp":1700000000,"value":21.5}`, []string{sample("temp", "d1", 1700000000000, 21.5)}},
		{"spaces and order", "t", " {\n\t\"value\" : -0.1e-3 ,\"timestamp\":0, \"device_id\" : \"ö\" } ", []string{sample("t", "ö", 0, -0.1e-3)}},
		{"payload wins", "a/b", `{"device_id":"d","metric_name":"m","value":1}`, []string{sample("m", "d", receipt0, 1)}},
		{"from the topic", "a/b", `{"value":1,"timestamp":null,"metric_name":null}`, []string{sample("a", "b", receipt0, 1)}},
		{"unknown fields", "a", `{"unit":"C","x":{"value":[3]},"ok":true,"device_id":"d","value":1,"n":null,"e":1e3}`, []string{sample("a", "d", receipt0, 1)}},
		{"escapes", "a", `{"device_id":"d\u00e9\n","value":1}`, []string{sample("a", "dé\n", receipt0, 1)}},
		{"twice, the last counts", "a", `{"device_id":"d","value":1,"value":2}`, []string{sample("a", "d", receipt0, 2)}},
		{"negative zero", "a/b", `-0`, []string{sample("a", "b", receipt0, math.Copysign(0, -1))}},
		{"plain", "a/b", ` 21.5 `, []string{sample("a", "b", receipt0, 21.5)}},
		{"plain string", "a/b", `"21.5"`, []string{sample("a", "b", receipt0, 21.5)}},
		{"plain boolean", "a/b", `true`, []string{sample("a", "b", receipt0, 1)}},
		{"plain infinity", "a/b", `-Inf`, []string{sample("a", "b", receipt0, math.Inf(-1))}},
		{"false", "a/b", `{"value":false}`, []string{sample("a", "b", receipt0, 0)}},
		{"NaN", "a/b", `{"value":"nan"}`, []string{sample("a", "b", receipt0, math.NaN())}},
		{"+Inf", "a/b", `{"value":"+Inf"}`, []string{sample("a", "b", receipt0, math.Inf(1))}},
		{"17 digits", "a/b", `{"value":0.30000000000000004}`, []string{sample("a", "b", receipt0, 0.30000000000000004)}},
		{"smallest", "a/b", `5e-324`, []string{sample("a", "b", receipt0, 5e-324)}},
		{"array", "a", `[{"device_id":"d","value":1}, {"device_id":"e","value":2}]`, []string{sample("a", "d", receipt0, 1), sample("a", "e", receipt0, 2)}},
		{"empty array", "a", `[]`, nil},
		{"partly bad array", "a", `[{"device_id":"d","value":1},{"value":2},7,{"device_id":"e","value":3},[],{"device_id":"f","value":{}}]`,
			[]string{sample("a", "d", receipt0, 1), sample("a", "e", receipt0, 3), "!device_id_missing", "!item_type", "!item_type", "!value_type"}},
		{"broken after good items", "a", `[{"device_id":"d","value":1},{"device_id":"e"`, []string{"!json"}},
		{"empty", "a", ``, []string{"!empty"}},
		{"not JSON", "a", `{"device_id":"d","value":1`, []string{"!json"}},
		{"more behind it", "a/b", `{"value":1} {"value":2}`, []string{"!json"}},
		{"text", "a/b", `hello`, []string{"!json"}},
		{"null", "a/b", `null`, []string{"!value_missing"}},
		{"plain without a device", "a", `21.5`, []string{"!device_id_missing"}},
		{"invalid UTF-8", "a", "{\"device_id\":\"\xff\",\"value\":1}", []string{"!utf8"}},
		{"no value", "a/b", `{}`, []string{"!value_missing"}},
		{"value null", "a/b", `{"value":null}`, []string{"!value_missing"}},
		{"value text", "a/b", `{"value":"warm"}`, []string{"!value_type"}},
		{"value hexadecimal", "a/b", `{"value":"0x10"}`, []string{"!value_type"}},
		{"value too large", "a/b", `{"value":1e999}`, []string{"!value_range"}},
		{"leading zero", "a/b", `{"value":01}`, []string{"!json"}},
		{"bare NaN in an object", "a/b", `{"value":NaN}`, []string{"!json"}},
		{"empty device", "a/b", `{"device_id":"","value":1}`, []string{"!device_id"}},
		{"device a number", "a/b", `{"device_id":7,"value":1}`, []string{"!device_id"}},
		{"empty metric", "a/b", `{"metric_name":"","value":1}`, []string{"!metric_name"}},
		{"long device", "a", `{"device_id":"` + long + `","value":1}`, []string{"!name_length"}},
		{"time true", "a/b", `{"timestamp":true,"value":1}`, []string{"!timestamp"}},
		{"time text", "a/b", `{"timestamp":"yesterday","value":1}`, []string{"!timestamp"}},
		{"time huge", "a/b", `{"timestamp":1e300,"value":1}`, []string{"!timestamp"}},
		{"no metric", "", `1`, []string{"!topic"}},
		{"three levels", "a/b/c", `1`, []string{"!topic"}},
		{"empty level", "a/", `1`, []string{"!topic"}},
		{"deep", "a/b", strings.Repeat(`[`, 100_000), []string{"!json"}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var p parsed
			readMessage("iot/sensors", &p, "iot/sensors/"+r.topic, []byte(r.payload), false, receipt0)
			if got := told(t, &p); !slices.Equal(got, r.want) {
				t.Errorf("got  %v\nwant %v", got, r.want)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	rows := []struct {
		in   string
		want int64
	}{
		{`0`, 0},
		{`1`, 1000},
		{`-1`, -1000},
		{`1700000000`, 1700000000000},
		{`1700000000.123`, 1700000000123},
		{`1.7e9`, 1700000000000},
		{`99999999999`, 99999999999000},
		{`100000000000`, 100000000000},
		{`1700000000123`, 1700000000123},
		{`1700000000123.6`, 1700000000124},
		{`99999999999999`, 99999999999999},
		{`100000000000000`, 100000000000},
		{`1700000000123499`, 1700000000123},
		{`1700000000123500`, 1700000000124},
		{`99999999999999999`, 100000000000000},
		{`1700000000123456789`, 1700000000123},
		{`9223372036854775807`, 9223372036855},
		{`-9223372036854775808`, -9223372036855},
		{`18446744073709551615`, 18446744073710},
		{`"1700000000"`, 1700000000000},
		{`"2023-11-14T22:13:20Z"`, 1700000000000},
		{`"2023-11-14T23:13:20.1235+01:00"`, 1700000000124},
	}
	for _, r := range rows {
		var p parsed
		p.parse(place{"m", "d"}, []byte(`{"value":1,"timestamp":`+r.in+`}`), receipt0)
		if len(p.items) != 1 || p.items[0].t != r.want {
			t.Errorf("%s: %v, want %d", r.in, told(t, &p), r.want)
		}
	}
}

// The scanner must say what encoding/json says, or nothing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"device_id":"d1","metric_name":"temp","timestamp":1700000000,"value":21.5}`, `[{"device_id":"d","value":1},{"value":-1e5}]`,
		`21.5`, `{"value":1,"value":2}`, `{"x":null,"y":true,"z":"s","value":0.1,"timestamp":1.5}`, `{"value":1e999}`, `{"":1,"value":00}`, "{\"a\":\"\xff\"}",
		`{"timestamp":-5,"value":1 }`, `{"VALUE":1}`, `[`, `{"value":1,}`, `{"device_id":"\u0041","value":1}`,
	} {
		f.Add("a/b", []byte(s))
		f.Add("a", []byte(s))
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		at, ok := prefix("p").place("p/" + topic)
		if !ok {
			return
		}
		var fast, slow, both parsed
		fine := fast.fast(at, payload, receipt0)
		slow.slow(at, payload, receipt0)
		both.parse(at, payload, receipt0)
		if fine && !slices.Equal(told(t, &fast), told(t, &slow)) {
			t.Fatalf("%q on %q: the scanner says %v, encoding/json %v", payload, topic, told(t, &fast), told(t, &slow))
		}
		if !slices.Equal(told(t, &both), told(t, &slow)) {
			t.Fatalf("%q on %q: %v, want %v", payload, topic, told(t, &both), told(t, &slow))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, s := range map[string]string{
		"fast": `{"device_id":"device-0042","metric_name":"temperature","timestamp":1700000000,"value":21.53}`,
		"slow": `{"device_id":"device-0042","metric_name":"temperature","timestamp":"2023-11-14T22:13:20Z","value":21.53}`,
	} {
		b.Run(name, func(b *testing.B) {
			var p parsed
			payload := []byte(s)
			b.ReportAllocs()
			for b.Loop() {
				p.parse(place{"temperature", ""}, payload, receipt0)
				if len(p.items) != 1 {
					b.Fatal("nothing parsed")
				}
			}
		})
	}
}

// Labels stay in order whatever the label of the device is called.
func TestDeviceLabel(t *testing.T) {
	for _, label := range []string{"Device", "sensor"} {
		p := parsed{label: label}
		p.parse(place{"temperature", "d1"}, []byte("21.5"), receipt0)
		var b labels.ScratchBuilder
		ls, err := series.ParseKey(p.keys, series.Limits{}, &b)
		if err != nil || ls.Get(label) != "d1" || ls.Get("__name__") != "temperature" {
			t.Errorf("%s: %v, %v", label, ls, err)
		}
	}
}
