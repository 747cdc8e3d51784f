package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

type ringAnswer struct {
	Status, Error string
	Data          struct {
		Rejected []Rejection
		Counts   map[string]int
	}
}

func ask(t *testing.T, h http.Handler, method, url string) (int, ringAnswer) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, url, nil))
	var a ringAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return w.Code, a
}

func TestRing(t *testing.T) {
	r := NewRing(RingOptions{Entries: 3, Payload: 8, Now: now})
	if code, a := ask(t, r, "GET", "/"); code != 200 || a.Data.Rejected == nil || len(a.Data.Rejected) != 0 {
		t.Fatalf("empty: %d %+v", code, a)
	}
	for i := range 4 {
		r.Add("mqtt", fmt.Sprintf("topic/%d", i), "json", errors.New("broken"), []byte("payload"))
	}
	r.Add("mqtt", "bin", "utf8", errors.New("no text"), []byte{0xff, 0xfe})
	r.Add("mqtt", strings.Repeat("t", 9999), "long", errors.New(strings.Repeat("e", 9999)), []byte("1234567éé"))

	code, a := ask(t, r, "GET", "/api/v1/ingest/rejected")
	got := a.Data.Rejected
	if code != 200 || a.Status != "success" || len(got) != 3 {
		t.Fatalf("%d %+v", code, a)
	}
	if e := got[0]; e.Payload != "1234567" || e.Bytes != 11 || len(e.Topic) > 300 || len(e.Error) > 1100 || e.Binary != nil {
		t.Errorf("cut: %+v", e)
	}
	if e := got[1]; e.Payload != "" || string(e.Binary) != "\xff\xfe" {
		t.Errorf("binary: %+v", e)
	}
	if e := got[2]; e.Topic != "topic/3" || e.Payload != "payload" || e.Reason != "json" || e.Error != "broken" || e.Door != "mqtt" || e.Time.UnixMilli() != clock {
		t.Errorf("oldest: %+v", e)
	}
	if c := a.Data.Counts; c["json"] != 4 || c["utf8"] != 1 || c["long"] != 1 {
		t.Errorf("counts %v", c)
	}
	if _, a := ask(t, r, "GET", "/?limit=1"); len(a.Data.Rejected) != 1 || a.Data.Rejected[0].Reason != "long" {
		t.Errorf("limit=1: %+v", a)
	}
	for url, want := range map[string]int{"/?limit=x": 400, "/?limit=-1": 400, "/?limit=99999": 200, "/?limit=0": 200} {
		if code, _ := ask(t, r, "GET", url); code != want {
			t.Errorf("%s: %d", url, code)
		}
	}
	if code, _ := ask(t, r, "POST", "/"); code != 405 {
		t.Errorf("POST: %d", code)
	}
}

func TestCut(t *testing.T) {
	for _, s := range []string{"", "abc", "ééééé", "\xff\xff\xff\xff\xff\xff", "a€€€€"} {
		for n := range 8 {
			got := cut([]byte(s), n)
			if len(got) > n || !strings.HasPrefix(s, string(got)) || utf8.ValidString(s) && !utf8.Valid(got) {
				t.Errorf("cut(%q, %d) = %q", s, n, got)
			}
		}
	}
}
