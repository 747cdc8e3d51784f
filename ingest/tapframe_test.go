package ingest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
)

func TestTapFrame(t *testing.T) {
	a, b := key("a", "1"), key("b", "22")
	sent := []tapped{
		{a, series.Sample{T: 1, V: 1.5}}, {a, series.Sample{T: -2, V: math.Inf(-1)}},
		{b, series.Sample{T: math.MaxInt64, V: 0}}, {a, series.Sample{T: math.MinInt64, V: math.MaxFloat64}},
	}
	var f tapFrame
	for _, s := range sent {
		f.add(s)
	}
	payload := slices.Clone(f.take(7))
	const golden = "0000000000000007" + // dropped
		"08" + "0a060a0161120131" + "02" + "3ff8000000000000" +
		"00" + "03" + "fff0000000000000" +
		"09" + "0a070a016212023232" + "feffffffffffffffff01" + "0000000000000000" +
		"08" + "0a060a0161120131" + "ffffffffffffffffff01" + "7fefffffffffffff"
	if got := fmt.Sprintf("%x", payload); got != golden {
		t.Errorf("got  %s\nwant %s", got, golden)
	}
	var got []tapped
	dropped, err := readTapFrame(payload, func(s tapped) error { got = append(got, s); return nil })
	if err != nil || dropped != 7 || fmt.Sprint(got) != fmt.Sprint(sent) {
		t.Errorf("got %v, %d dropped, %v", got, dropped, err)
	}
	for n := range payload { // cut anywhere it is one with fewer samples, or none
		if _, err := readTapFrame(payload[:n], func(tapped) error { return nil }); err == nil && !slices.Contains([]int{8, 26, 36, 64}, n) {
			t.Errorf("%d bytes of %d are good", n, len(payload))
		}
	}
}

func FuzzTapFrame(f *testing.F) {
	var frame tapFrame
	frame.add(tapped{key("a", "1"), series.Sample{T: 1, V: 2}})
	frame.add(tapped{key("a", "1"), series.Sample{T: 2, V: 2}})
	f.Add(slices.Clone(frame.take(3)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again tapFrame
		var lines []string
		line := func(s tapped) string {
			return string(appendSample(nil, s)) + fmt.Sprint(math.Float64bits(s.V))
		}
		dropped, err := readTapFrame(payload, func(s tapped) error {
			again.add(s)
			lines = append(lines, line(s))
			return nil
		})
		if err != nil {
			return
		}
		for _, l := range lines {
			if !json.Valid([]byte(l[:strings.LastIndex(l, "}")+1])) {
				t.Errorf("not JSON: %q", l)
			}
		}
		i := 0
		if d, err := readTapFrame(again.take(dropped), func(s tapped) error {
			if lines[i] != line(s) {
				t.Errorf("sample %d was %s", i, lines[i])
			}
			i++
			return nil
		}); err != nil || d != dropped || i != len(lines) {
			t.Errorf("%d of %d samples, %d of %d dropped, %v", i, len(lines), d, dropped, err)
		}
	})
}
