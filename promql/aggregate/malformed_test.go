package aggregate_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestMalformedRequests(t *testing.T) {
	h := handler(someData())
	const ok = `"metric_name":"m","operation":"avg"`
	for _, c := range []struct {
		name, body, field, text string
	}{
		{"nothing", ``, "", "at byte 0"},
		{"white space", "  \n", "", "too early"},
		{"not JSON", `hello`, "", "at byte 1"},
		{"an array", `[]`, "", "not a JSON object"},
		{"a string", `"metric_name"`, "", "not a JSON object"},
		{"null", `null`, "", "not a JSON object"},
		{"cut", `{"metric_name":"m`, "", "too early"},
		{"cut after a field", `{` + ok, "", "too early"},
		{"cut after a comma", `{` + ok + `,`, "", "too early"},
		{"a comma too much", `{` + ok + `,}`, "", "malformed JSON"},
		{"no comma", `{"metric_name":"m" "operation":"avg"}`, "", "malformed JSON at byte"},
		{"no colon", `{"metric_name" "m"}`, "", "malformed JSON"},
		{"wrong brace", `{` + ok + `]`, "", "malformed JSON"},
		{"single quotes", `{'metric_name':'m'}`, "", "malformed JSON"},
		{"a comment", `{/* */` + ok + `}`, "", "malformed JSON"},
		{"a number as key", `{1:2}`, "", "malformed JSON"},
		{"something after it", `{` + ok + `}x`, "", "something after the JSON object, at byte 37"},
		{"two objects", `{` + ok + `}{}`, "", "something after"},
		{"another brace", `{` + ok + `}}`, "", "something after"},
		{"invalid UTF-8", "{\"metric_name\":\"\xff\",\"operation\":\"avg\"}", "", "UTF-8"},
		{"a control character", "{\"metric_name\":\"a\nb\",\"operation\":\"avg\"}", "", "malformed JSON"},
		{"unknown field", `{` + ok + `,"device":"d1"}`, "device", "unknown"},
		{"wrong case", `{` + ok + `,"Device_ID":"d1"}`, "Device_ID", "unknown"},
		{"a long unknown field", `{"` + strings.Repeat("ü", 1000) + `":1}`, strings.Repeat("ü", 32), "unknown"},
		{"a field twice", `{` + ok + `,"operation":"sum"}`, "operation", "twice"},
		{"no operation", `{"metric_name":"m"}`, "operation", "avg, sum, min, max, count, first, last"},
		{"unknown operation", `{"metric_name":"m","operation":"median"}`, "operation", `"median" is unknown`},
		{"operation in capitals", `{"metric_name":"m","operation":"AVG"}`, "operation", "unknown"},
		{"operation is a number", `{"metric_name":"m","operation":1}`, "operation", "must be a string"},
		{"no operations", `{"metric_name":"m","operation":[]}`, "operation", "missing"},
		{"an unknown one of several", `{"metric_name":"m","operation":["avg","median"]}`, "operation", `"median" is unknown`},
		{"a number among operations", `{"metric_name":"m","operation":["avg",1]}`, "operation", "list of strings"},
		{"an operation twice", `{"metric_name":"m","operation":["avg","sum","avg"]}`, "operation", "twice"},
		{"no metric", `{"operation":"avg"}`, "metric_name", "missing"},
		{"a device without a metric", `{"device_id":"d1","operation":"avg"}`, "metric_name", "missing"},
		{"an empty metric", `{"metric_name":"","operation":"avg"}`, "metric_name", "missing"},
		{"metric is an array", `{"metric_name":["m"],"operation":"avg"}`, "metric_name", "must be a string"},
		{"device is a number", `{"device_id":7,` + ok + `}`, "device_id", "must be a string"},
		{"device is true", `{"device_id":true,` + ok + `}`, "device_id", "must be a string"},
		{"start is true", `{` + ok + `,"start_time":true}`, "start_time", "Unix seconds"},
		{"start is an object", `{` + ok + `,"start_time":{}}`, "start_time", "Unix seconds"},
		{"start is a word", `{` + ok + `,"start_time":"yesterday"}`, "start_time", "Unix seconds"},
		{"start is a number in quotes", `{` + ok + `,"start_time":"1700000000"}`, "start_time", "Unix seconds"},
		{"start is empty", `{` + ok + `,"start_time":""}`, "start_time", "Unix seconds"},
		{"now without a sign", `{` + ok + `,"start_time":"now1h"}`, "start_time", "Unix seconds"},
		{"now and nothing", `{` + ok + `,"start_time":"now-"}`, "start_time", "Unix seconds"},
		{"now and a wrong unit", `{` + ok + `,"end_time":"now-5x"}`, "end_time", "Unix seconds"},
		{"now and a letter", `{` + ok + `,"end_time":"nowü1h"}`, "end_time", "Unix seconds"},
		{"now and too much", `{` + ok + `,"end_time":"now-99999999y"}`, "end_time", "Unix seconds"},
		{"milliseconds", `{` + ok + `,"start_time":1700000000000}`, "start_time", "the unit is seconds"},
		{"beyond floats", `{` + ok + `,"start_time":1e999}`, "start_time", "out of range"},
		{"far in the past", `{` + ok + `,"start_time":-1e300}`, "start_time", "out of range"},
		{"hexadecimal", `{` + ok + `,"start_time":0x10}`, "", "malformed JSON"},
		{"NaN", `{` + ok + `,"start_time":NaN}`, "", "malformed JSON"},
		{"start after end", `{` + ok + `,"start_time":2,"end_time":1}`, "start_time", "1970-01-01T00:00:02Z is after end_time 1970-01-01T00:00:01Z"},
		{"start after now", `{` + ok + `,"start_time":"now+1s"}`, "start_time", "after end_time"},
		{"matchers are an array", `{"matchers":["a"],"operation":"avg"}`, "matchers", "must be a string"},
		{"matchers are cut", `{"matchers":"a{","operation":"avg"}`, "matchers", "not a PromQL selector"},
		{"matchers are a query", `{"matchers":"rate(a[5m])","operation":"avg"}`, "matchers", "not a PromQL selector"},
		{"matchers match all", `{"matchers":"{}","operation":"avg"}`, "matchers", "match everything"},
		{"matchers match the empty string", `{"matchers":"{a=~\".*\"}","operation":"avg"}`, "matchers", "match everything"},
		{"a bad regular expression", `{"matchers":"{a=~\"(\"}","operation":"avg"}`, "matchers", "missing closing"},
		{"a giant regular expression", `{"matchers":"{a=~\"` + strings.Repeat("(a|b)?", 40_000) + `\"}","operation":"avg"}`, "matchers", "too complex"},
		{"giant matchers", `{"matchers":"{a=~\"` + strings.Repeat("a", 1_000_000) + `\"}","operation":"avg"}`, "matchers", "at most"},
		{"deep", `{` + ok + `,"start_time":` + strings.Repeat("[", 500_000), "", "malformed JSON"},
		{"deep and whole", `{` + ok + `,"start_time":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, "", "malformed JSON"},
		{"deep objects", strings.Repeat(`{"a":`, 100_000), "a", "unknown"},
		{"many fields", `{` + strings.Repeat(`"x":1,`, 100_000), "x", "unknown"},
	} {
		w := post(h, c.body)
		var got struct{ Error, Field string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			continue
		}
		if w.Code != 400 || got.Field != c.field || !strings.Contains(got.Error, c.text) || w.Body.Len() > 2000 {
			t.Errorf("%s: got %d %.500s, want field %q and text %q", c.name, w.Code, w.Body, c.field, c.text)
		}
	}
}

// Whatever the body is, the answer is JSON and 200 or 400; and 200 only for JSON.
func FuzzBody(f *testing.F) {
	f.Add(`{"device_id":"d1","metric_name":"temperature","operation":"avg","start_time":1700000000,"end_time":0}`)
	f.Add(`{"matchers":"temperature{device_id=~\"d1|d2\"}","operation":"count","start_time":"now-1h","end_time":"2023-11-14T22:13:21Z"}`)
	f.Add(`{"metric_name":"m","operation":"avg",}`)
	f.Add(`{"start_time":-1e-7,"end_time":null}`)
	f.Add(`[{}]`)
	h := handler(someData())
	f.Fuzz(func(t *testing.T, body string) {
		w := post(h, body)
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: %s", body, w.Body)
		}
		switch w.Code {
		case 200:
			if !json.Valid([]byte(body)) {
				t.Errorf("%q is no JSON, and was answered by %s", body, w.Body)
			}
		case 400, 413:
		default:
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}
