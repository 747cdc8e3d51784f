package gossip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/merkle"
)

// write writes opaque records, as those do who delete.
func write(t testing.TB, n *node, from, to, size int) {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{1}) // what cannot be compressed
	err := n.update("write", func() (records []merkle.Record, err error) {
		for i := from; i < to; i++ {
			value := make([]byte, size)
			if _, err := rng.Read(value); err != nil {
				return records, err
			}
			r, err := n.set.Put(n.now(), fmt.Sprintf("delete/%06d", i), value)
			if err != nil {
				return records, err
			}
			records = append(records, r)
		}
		return records, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnlyDifferingBucketsTravel lets two nodes that share many records differ in one, which is too large to be broadcast.
func TestOnlyDifferingBucketsTravel(t *testing.T) {
	w := newWorld(t)
	o := w.options(1)
	o.Interval = 300 * time.Millisecond // so that one comparison is over when the next begins
	a := w.start(o)
	write(t, a, 0, 2000, 500)
	o = w.options(2, addrOf(1))
	o.Interval = 300 * time.Millisecond
	b := w.join(o, a)
	all := len(a.set.Encode())
	if got := w.sent(a.addr); got < all {
		t.Errorf("%d bytes were sent, and there are %d", got, all)
	}
	before, began := w.sent(a.addr)+w.sent(b.addr), time.Now()
	write(t, a, 2000, 2001, 2000)
	agree(t, a, b)
	// A bucket is a sixty-fourth; both may offer it, again if that takes long, and meanwhile members exchange packets.
	rounds := 1 + int(time.Since(began)/(2*o.Interval))
	if got, most := w.sent(a.addr)+w.sent(b.addr)-before, rounds*all/12; got > most {
		t.Errorf("one record of 2000 bytes costs %d bytes, at most %d are right", got, most)
	}
}

// TestIdleTraffic counts what a node says when nothing happens: with probes as they are by default, and ten times as many comparisons.
func TestIdleTraffic(t *testing.T) {
	w := newWorld(t)
	slow := func(i int, seeds ...string) Options {
		o := w.options(i, seeds...)
		o.Probe, o.Interval = time.Second, 100*time.Millisecond
		return o
	}
	a := w.start(slow(1))
	b := w.join(slow(2, addrOf(1)), a)
	c := w.join(slow(3, addrOf(1)), a, b)
	write(t, a, 0, 500, 100)
	agree(t, a, b, c)
	until(t, "what was under way is over, and they are idle", func() error {
		before, began := w.sent(a.addr), time.Now()
		time.Sleep(time.Second)
		if rate := float64(w.sent(a.addr)-before) / time.Since(began).Seconds(); rate > 5<<10 {
			return fmt.Errorf("an idle node sends %.0f bytes a second", rate)
		}
		return nil
	})
}

func TestRecordsReachAll(t *testing.T) {
	w := newWorld(t)
	a, b, c := three(w)
	for i, n := range []*node{a, b, c} {
		write(t, n, 100*i, 100*i+100, 10)
	}
	agree(t, a, b, c)
	if n := a.set.Len(); n < 300 {
		t.Errorf("there are %d records", n)
	}
}

func TestRecordsOfOthers(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	b := w.join(w.options(2, addrOf(1)), a)
	changed := b.Changed()
	if err := a.Put(map[string][]byte{"delete/1": []byte("what"), "delete/2": []byte("else")}); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	if got := b.Others(); len(got) != 2 || string(got["delete/1"]) != "what" {
		t.Errorf("the other has %q", got)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody is told")
	}
	if err := b.Put(map[string][]byte{"delete/1": nil}); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	if got := a.Others(); len(got) != 1 {
		t.Errorf("there is still %q", got)
	}
	for _, key := range []string{"", "delete/", "node/x", "setting/write-consistency"} {
		if err := a.Put(map[string][]byte{key: nil}); err == nil {
			t.Errorf("others write %q", key)
		}
	}
}

func TestClocksAnHourApart(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	o := w.options(2, addrOf(1))
	o.Now = func() time.Time { return time.Now().Add(-time.Hour) }
	b := w.join(o, a)
	o = w.options(3, addrOf(1))
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	c := w.join(o, a, b)
	for i, n := range []*node{c, b, a, b, c, a} {
		value := []string{"one", "all", "quorum"}[i%3]
		if err := n.SetSetting("write-consistency", value); err != nil {
			t.Fatal(err)
		}
		agree(t, a, b, c)
		if got := a.Setting("write-consistency"); got != value {
			t.Fatalf("%s set %s, and it is %s", n.o.Name, value, got)
		}
	}
}

func TestAClockInAnotherCentury(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	o := w.options(2, addrOf(1))
	o.Now = func() time.Time { return time.Now().AddDate(100, 0, 0) }
	b := w.start(o)
	until(t, "it says what is wrong", func() error {
		if text := a.log.String(); !strings.Contains(text, "clock") {
			return errors.New("it says nothing")
		}
		return nil
	})
	if v := a.View(); v.Ring.Index(b.ID()) >= 0 {
		t.Error("the node is in the cluster")
	}
	if err := a.SetSetting("write-consistency", "all"); err != nil || a.View().Self < 0 {
		t.Errorf("the others cannot go on: %v", err)
	}
}

// TestBadRecords lets a peer write what is no good: the cluster goes on without.
func TestBadRecords(t *testing.T) {
	w := newWorld(t)
	a := w.start(w.options(1))
	id := func(i int) string { return fmt.Sprintf("3f1c1d4e-0001-4000-8000-%012d", i) }
	bad := map[string]string{
		nodePrefix + id(1):                   `{`,
		nodePrefix + id(2):                   `{"id":"` + id(3) + `","state":"active"}`,
		nodePrefix + id(4):                   `{"id":"` + id(4) + `","state":"asleep"}`,
		nodePrefix + id(5):                   `{"id":"` + id(5) + `","state":"active","weight":-5}`,
		nodePrefix + id(6):                   `{"id":"` + id(6) + `","state":"active","replaces":"` + id(6) + `"}`,
		nodePrefix + "x":                     `{"id":"x","state":"active"}`,
		addrPrefix + a.ID():                  `[]`,
		placed:                               "many",
		settingPrefix + "replication-factor": "-3",
	}
	var records []merkle.Record
	for key, value := range bad {
		records = append(records, merkle.Record{Key: key, Value: []byte(value), Version: uint64(time.Now().Add(time.Minute).UnixMilli()) << 16, Origin: "z"})
	}
	a.merge(records, "somebody")
	if v := a.View(); len(v.Members) != 1 || v.Self != 0 || v.Ring.Owned(0).Len() != shard.Partitions {
		t.Errorf("the view is %+v", v.Members)
	}
	until(t, "it writes its own address again", func() error {
		if got := a.View().Members[0].Gossip; got != a.addr {
			return errors.New(got)
		}
		return nil
	})
	many := make([]merkle.Record, 0, shard.MaxNodes+1)
	for i := range shard.MaxNodes + 1 {
		value := fmt.Sprintf(`{"id":"%s","state":"active"}`, id(1000+i))
		many = append(many, merkle.Record{Key: nodePrefix + id(1000+i), Value: []byte(value), Version: 1 << 40, Origin: "z"})
	}
	a.merge(many, "somebody")
	if v := a.View(); len(v.Members) != 1 || v.Self != 0 {
		t.Errorf("with too many nodes the view has %d", len(v.Members))
	}
}

func FuzzAnswer(f *testing.F) {
	c, err := New(Options{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	peer := run{1, 2}.member("3f1c1d4e-0001-4000-8000-000000000001")
	record := merkle.Record{Key: "k", Value: []byte("v"), Version: 1, Origin: "o"}.AppendTo(nil)
	for kind, body := range map[byte][]byte{
		kindRoot: make([]byte, 16), kindAsk: make([]byte, 16), kindDigests: make([]byte, 16*merkle.Buckets),
		kindOffer: append(make([]byte, 8), record...), kindRecords: record, kindHello: {0}, kindAnswer: {1},
	} {
		f.Add(message{kind, c.ClusterID(), peer, "10.0.0.1:1", body}.appendTo(nil))
	}
	c.o.FS = &full{is: true} // nothing is to be written
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err != nil {
			return
		}
		back, err := decodeMessage(m.appendTo(nil))
		if err != nil || back.kind != m.kind || back.cluster != m.cluster || back.member != m.member || back.addr != m.addr || string(back.body) != string(m.body) {
			t.Fatalf("%+v becomes %+v: %v", m, back, err)
		}
		answers, err := c.answer(m)
		if err == nil {
			for _, a := range answers {
				if _, err := decodeMessage(a); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c.View().Self != 0 {
			t.Fatal("a message threw this node out")
		}
	})
}

func TestGoldenMessage(t *testing.T) {
	m := message{kindRoot, "3f1c1d4e-0001-4000-8000-000000000001", "m", "a:1", []byte{9}}
	want := "\x01\x01\x3f\x1c\x1d\x4e\x00\x01\x40\x00\x80\x00\x00\x00\x00\x00\x00\x01\x01m\x03a:1\x09"
	if got := string(m.appendTo(nil)); got != want {
		t.Errorf("the bytes are %q, want %q", got, want)
	}
	for _, bad := range []string{"", want[:17], want[:18], want[:20], "\x02" + want[1:]} {
		if _, err := decodeMessage([]byte(bad)); err == nil {
			t.Errorf("%q is decoded", bad)
		}
	}
}
