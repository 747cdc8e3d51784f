package series

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
)

// A key is what Prometheus's own encoder puts on the wire for the labels of a series.
func TestKeyIsTheWireForm(t *testing.T) {
	ls := labels.FromStrings("__name__", "temperature", "device_id", "d1", "site", strings.Repeat("x", 300))
	ts := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
	want, err := ts.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendKey(nil, ls); string(got) != string(want) {
		t.Fatalf("key %x, wire form %x", got, want)
	}
}

// The id is in files and on other nodes: it never changes.
func TestIDIsGolden(t *testing.T) {
	id := HashKey(AppendKey(nil, labels.FromStrings("__name__", "temperature", "device_id", "d1")))
	const want = "c8ce7833d3776cf061c1ab2cbf87bb58"
	if id.String() != want {
		t.Fatalf("id %s, want %s", id, want)
	}
	if IDFromBytes(id.Bytes()) != id {
		t.Fatal("the id does not survive its bytes")
	}
}

func TestParseKey(t *testing.T) {
	key := func(nv ...string) (k []byte) {
		for i := 0; i < len(nv); i += 2 {
			k = AppendLabel(k, nv[i], nv[i+1])
		}
		return k
	}
	var many []byte
	for i := range 100_000 {
		many = AppendLabel(many, fmt.Sprintf("l%06d", i), "v")
	}
	good := key("__name__", "up", "job", "x")
	rows := []struct {
		name, reason string
		key          []byte
	}{
		{"good", "", good},
		{"utf-8 name", "", key("__name__", "température", "größe", "x")},
		{"no name", "metric_name_missing", key("job", "x")},
		{"no labels", "metric_name_missing", nil},
		{"unsorted", "label_order", key("__name__", "up", "job", "x", "aa", "y")},
		{"twice", "label_duplicate", key("__name__", "up", "job", "x", "job", "y")},
		{"empty name", "label_name_empty", key("", "up")},
		{"empty value", "label_value_empty", key("__name__", "")},
		{"bad utf-8 value", "label_utf8", key("__name__", "\xff")},
		{"bad utf-8 name", "label_utf8", key("\xff", "x")},
		{"long value", "label_value_length", key("__name__", strings.Repeat("x", 16385))},
		{"long name", "label_name_length", key(strings.Repeat("x", 1025), "x")},
		{"100,000 labels", "label_count", many},
		{"cut", "label_malformed", good[:len(good)-1]},
		{"wrong tag", "label_malformed", append([]byte{0x0b}, good...)},
	}
	for _, r := range rows {
		var b labels.ScratchBuilder
		ls, err := ParseKey(r.key, Limits{}, &b)
		if r.reason == "" {
			if err != nil || string(AppendKey(nil, ls)) != string(r.key) {
				t.Errorf("%s: %v, %v", r.name, ls, err)
			}
			continue
		}
		var le *LabelError
		if !errors.As(err, &le) || le.Reason != r.reason {
			t.Errorf("%s: error %v, want reason %s", r.name, err, r.reason)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(AppendKey(nil, labels.FromStrings("__name__", "up", "job", "x")))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key []byte) {
		var b labels.ScratchBuilder
		ls, err := ParseKey(key, Limits{}, &b)
		if err != nil {
			return
		}
		canonical := AppendKey(nil, ls)
		if is, err := CheckKey(key, Limits{}); err != nil || is != (string(key) == string(canonical)) {
			t.Fatalf("canonical: %v, %v; key %x, canonical %x", is, err, key, canonical)
		}
		again, err := ParseKey(canonical, Limits{}, &b)
		if err != nil || !labels.Equal(ls, again) {
			t.Fatalf("%v became %v, %v", ls, again, err)
		}
	})
}

func TestBatchRejectCountsOnce(t *testing.T) {
	b := Batch{Series: []Entry{{Count: 3}, {First: 3, Count: 1}}, Samples: make([]Sample, 4), Histograms: []Histogram{{Series: 0}}}
	b.Reject(0, "label_order", errors.New("x"))
	b.Reject(0, "label_order", errors.New("x"))
	b.RejectExemplar("exemplar_labels", errors.New("y"))
	r := b.Rejected
	if r.Samples != 3 || r.Histograms != 1 || r.Exemplars != 1 || r.Reasons["label_order"] != 4 || len(r.Errs) != 2 {
		t.Fatalf("%+v", r)
	}
	if b.Reset(); b.Rejected.Any() || len(b.Series) != 0 {
		t.Fatal("Reset left something")
	}
}
