package store

import (
	"math"
	"testing"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard"
)

// A leaf is known when it was counted and nothing happened to it that is in no sum, whatever happened in which order.
func TestLedger(t *testing.T) {
	const p, w = 7, 3
	d := func(n uint64) series.Digest { return series.Digest{Hi: n, Lo: math.MaxUint64 - n} }
	var counted, sums digests
	*counted.at(p), *sums.at(p) = d(100), d(10)
	base := d(100).Minus(d(10))
	rows := []struct {
		name string
		do   func(l *ledger, sh *sheet, begin, end func())
		want *series.Digest // nil: it is not known
	}{
		{"nothing", func(*ledger, *sheet, func(), func()) {}, nil},
		{"begun", func(_ *ledger, _ *sheet, begin, _ func()) { begin() }, nil},
		{"counted", func(_ *ledger, _ *sheet, begin, end func()) { begin(); end() }, &base},
		{"doubted before", func(l *ledger, _ *sheet, begin, end func()) { l.Doubted(p, w); begin(); end() }, &base},
		{"doubted meanwhile", func(l *ledger, _ *sheet, begin, end func()) { begin(); l.Doubted(p, w); end() }, nil},
		{"doubted after", func(l *ledger, _ *sheet, begin, end func()) { begin(); end(); l.Doubted(p, w) }, nil},
		{"another was doubted", func(l *ledger, _ *sheet, begin, end func()) {
			begin()
			l.Doubted(p+1, w)
			l.Doubted(p, w+1)
			end()
			l.Doubted(p+1, w)
		}, &base},
		{"settled before", func(l *ledger, _ *sheet, begin, end func()) { l.Settled(p, w, d(1)); begin(); end() }, &base},
		{"settled meanwhile", func(l *ledger, _ *sheet, begin, end func()) { begin(); l.Settled(p, w, d(1)); end() }, nil},
		{"settled after", func(l *ledger, _ *sheet, begin, end func()) { begin(); end(); l.Settled(p, w, d(1)) }, func() *series.Digest { d := base.Plus(d(1)); return &d }()},
		{"forgotten", func(l *ledger, _ *sheet, begin, end func()) {
			begin()
			end()
			l.forget(math.MinInt64, math.MaxInt64, shard.All())
		}, nil},
		{"another was forgotten", func(l *ledger, _ *sheet, begin, end func()) {
			begin()
			end()
			l.forget(0, w*shard.WindowMillis-1, shard.All())
			l.forget((w+1)*shard.WindowMillis, math.MaxInt64, shard.All())
			l.forget(math.MinInt64, math.MaxInt64, setOf(p+1))
		}, &base},
		{"reset meanwhile", func(l *ledger, _ *sheet, begin, end func()) { begin(); l.reset(); end() }, nil},
	}
	for _, r := range rows {
		var l ledger
		l.open(w + 1)
		sh, parts := l.open(w), setOf(p)
		r.do(&l, sh, func() { l.begin(sh, parts) }, func() { sh.end(parts, &counted, &sums) })
		got := &reading{}
		if sh := l.sheet(w); sh != nil {
			got = sh.read()
		}
		if got.parts.Has(p) != (r.want != nil) || r.want != nil && got.of(p) != *r.want {
			t.Errorf("%s: known is %v, with digest %v; want %v", r.name, got.parts.Has(p), got.of(p), r.want)
		}
	}
}

// What happens between reading the ledger and adding what the registry has is found out.
func TestLedgerConfirms(t *testing.T) {
	const p, w = 7, 3
	for name, happens := range map[string]func(*ledger){
		"doubted": func(l *ledger) { l.Doubted(p, w) },
		"settled": func(l *ledger) { l.Settled(p, w, series.Digest{Hi: 1}) },
		"reset":   func(l *ledger) { l.reset() },
		"nothing": func(*ledger) {},
	} {
		var l ledger
		sh, parts := l.open(w), setOf(p, p+1)
		l.begin(sh, parts)
		sh.end(parts, &digests{}, &digests{})
		d := sh.read()
		happens(&l)
		same := l.sheet(w).confirm(d)
		if same != (name == "nothing") || d.parts.Has(p) != same || d.parts.Has(p+1) != (name != "reset") {
			t.Errorf("%s: confirmed is %v, and %d leaves are left", name, same, d.parts.Len())
		}
	}
}

// The ledger has room for some windows, and lets go of those that nobody asks for.
func TestLedgerIsBounded(t *testing.T) {
	var l ledger
	const full = maxGroups * groupSize / shard.Partitions // windows
	for w := range int64(3 * full) {
		l.begin(l.open(w), shard.All())
		l.open(0)
	}
	if n := len(*l.sheets.Load()); n < full || n > full+1 {
		t.Errorf("%d windows, want %d", n, full)
	}
	if l.sheet(0) == nil || l.sheet(1) != nil || l.sheet(3*full-1) == nil {
		t.Error("the wrong windows are gone")
	}
	l.close(0)
	if l.sheet(0) != nil {
		t.Error("a window that was closed is there")
	}
}
