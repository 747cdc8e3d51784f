package compact

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/minitrue/minitrue/chunk/block"
)

const hour = int64(3_600_000)

// meta is a block named by a number, made at a time, that covers hours [from, to).
func meta(n byte, made, from, to, size int64, parents ...byte) block.Meta {
	m := block.Meta{
		ULID: id(n, made), MinTime: from * hour, MaxTime: to*hour - 1,
		Files: map[string]block.FileMeta{block.ChunksFile: {Size: size}},
	}
	for _, p := range parents {
		m.Parents = append(m.Parents, id(p, made))
	}
	return m
}

func id(n byte, made int64) ulid.ULID {
	var u ulid.ULID
	if err := u.SetTime(uint64(made * hour)); err != nil {
		panic(err)
	}
	u[15] = n
	return u
}

func coarse(m block.Meta) block.Meta {
	m.Resolution = 300_000
	return m
}

func numbers(ids []ulid.ULID) (ns []int) {
	for _, u := range ids {
		ns = append(ns, int(u[15]))
	}
	return ns
}

func TestPlan(t *testing.T) {
	rows := []struct {
		name  string
		now   int64 // hours
		metas []block.Meta
		want  [][]int
	}{
		{"nothing", 100, nil, nil},
		{"one block", 100, []block.Meta{meta(1, 0, 0, 2, 10)}, nil},
		{"two in a range that is open", 3, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 0, 2, 10)}, nil},
		{"two in a range that is over", 5, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 0, 2, 10)}, [][]int{{1, 2}}},
		{"over, but one is too young", 5, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 5, 0, 2, 10)}, nil},
		{"three alike in a range that is open", 2, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 0, 2, 11), meta(3, 2, 0, 2, 9)}, [][]int{{1, 2, 3}}},
		{"a large one is not merged with three small ones", 2, []block.Meta{meta(1, 1, 0, 2, 1000), meta(2, 2, 0, 2, 10), meta(3, 2, 0, 2, 9), meta(4, 2, 0, 2, 9)}, [][]int{{2, 3, 4}}},
		{"nor with a small one when the range is over", 100, []block.Meta{meta(1, 1, 0, 2, 1000), meta(2, 2, 0, 2, 99)}, nil},
		{"but when it is worth it", 100, []block.Meta{meta(1, 1, 0, 2, 1000), meta(2, 2, 0, 2, 100)}, [][]int{{1, 2}}},
		{"eight hours at once", 11, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 2, 4, 10), meta(3, 3, 6, 8, 10)}, [][]int{{1, 2, 3}}},
		{"two ranges", 17, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 0, 2, 10), meta(3, 3, 12, 14, 10), meta(4, 3, 12, 14, 10)}, [][]int{{1, 2}, {3, 4}}},
		{"five days", 131, []block.Meta{meta(1, 1, 0, 12, 10), meta(2, 2, 12, 24, 10), meta(3, 2, 126, 128, 10), meta(4, 2, 128, 130, 10)}, [][]int{{1, 2, 3}}},
		{"too much for five days in one block", 131, []block.Meta{meta(1, 1, 0, 12, 1<<29), meta(2, 2, 12, 24, 1<<29), meta(3, 2, 96, 98, 10)}, [][]int{{1, 2}}},
		{"another resolution", 75, []block.Meta{meta(1, 1, 0, 2, 10), coarse(meta(2, 2, 0, 2, 10)), coarse(meta(3, 2, 0, 2, 10))}, [][]int{{2, 3}}},
		{"before 1970", 75, []block.Meta{meta(1, 1, -2, 0, 10), meta(2, 2, -2, 0, 10), meta(3, 2, 0, 2, 10)}, [][]int{{1, 2}}},
		{"too long for any range", 50000, []block.Meta{meta(1, 1, 0, 40000, 10), meta(2, 2, 0, 40000, 10), meta(3, 2, 71, 73, 10)}, nil},
		{"superseded ones are left out", 100, []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 1, 0, 2, 10), meta(3, 1, 0, 2, 20, 1, 2)}, nil},
	}
	for _, r := range rows {
		var got [][]int
		for _, j := range Plan(r.metas, r.now*hour, Options{}) {
			got = append(got, numbers(j.Blocks))
		}
		if !reflect.DeepEqual(got, r.want) {
			t.Errorf("%s: %v, want %v", r.name, got, r.want)
		}
	}
}

// A node that flushes all the time and gets late data now and then keeps few blocks, and
// rewrites each byte a few times. The plan does not depend on the order of the blocks.
func TestPlanOverAMonth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var metas []block.Meta
	var written, rewritten int64
	n := uint64(0)
	add := func(now, from, to, size int64) {
		n++
		var u ulid.ULID
		if err := u.SetTime(uint64(now)); err != nil {
			t.Fatal(err)
		}
		u[14], u[15] = byte(n>>8), byte(n)
		metas = append(metas, block.Meta{ULID: u, MinTime: from, MaxTime: to, Files: map[string]block.FileMeta{"f": {Size: size}}})
	}
	most := 0
	for now := int64(0); now < 30*24*hour; now += hour / 4 {
		from := now / (2 * hour) * 2 * hour
		add(now, from, now+1, 100)
		written += 100
		if rng.IntN(8) == 0 && now > 0 {
			at := rng.Int64N(now)
			add(now, at, at, 1)
			written++
		}
		for {
			jobs := Plan(metas, now, Options{})
			shuffled := slices.Clone(metas)
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if !reflect.DeepEqual(jobs, Plan(shuffled, now, Options{})) {
				t.Fatal("the plan depends on the order of the blocks")
			}
			if len(jobs) == 0 {
				break
			}
			var size int64
			lo, hi := now, int64(-1)
			metas = slices.DeleteFunc(metas, func(m block.Meta) bool {
				in := slices.Contains(jobs[0].Blocks, m.ULID)
				if in {
					size += m.Bytes()
					lo, hi = min(lo, m.MinTime), max(hi, m.MaxTime)
				}
				return in
			})
			add(now, lo, hi, size)
			rewritten += size
		}
		most = max(most, len(metas))
	}
	if most > 150 || rewritten > 12*written {
		t.Fatalf("at most %d blocks, %.1f times rewritten", most, float64(rewritten)/float64(written))
	}
	t.Logf("at most %d blocks, now %d, %.1f times rewritten", most, len(metas), float64(rewritten)/float64(written))
}

func TestSuperseded(t *testing.T) {
	rows := []struct {
		name  string
		metas []block.Meta
		want  []int
	}{
		{"none", []block.Meta{meta(1, 0, 0, 2, 1), meta(2, 0, 0, 2, 1)}, nil},
		{"both parents", []block.Meta{meta(2, 0, 0, 2, 1), meta(1, 0, 0, 2, 1), meta(3, 0, 0, 2, 1, 1, 2)}, []int{1, 2}},
		{"one parent left", []block.Meta{meta(2, 0, 0, 2, 1), meta(3, 0, 0, 2, 1, 1, 2)}, []int{2}},
		{"three generations", []block.Meta{meta(1, 0, 0, 2, 1), meta(2, 0, 0, 2, 1, 1), meta(3, 0, 0, 2, 1, 2)}, []int{1, 2}},
		{"itself", []block.Meta{meta(1, 0, 0, 2, 1, 1)}, nil},
	}
	for _, r := range rows {
		if got := numbers(Superseded(r.metas)); !slices.Equal(got, r.want) {
			t.Errorf("%s: %v, want %v", r.name, got, r.want)
		}
	}
}

func TestExpired(t *testing.T) {
	metas := []block.Meta{meta(3, 0, 20, 30, 100), meta(1, 0, 0, 10, 100), meta(2, 0, 10, 20, 100)}
	rows := []struct {
		age   time.Duration
		bytes int64
		want  []int
	}{
		{0, 0, nil},
		{21 * time.Hour, 0, nil},
		{20 * time.Hour, 0, []int{1}},
		{19 * time.Hour, 0, []int{1}},
		{time.Nanosecond, 0, []int{1, 2, 3}},
		{0, 300, nil},
		{0, 299, []int{1}},
		{0, 100, []int{1, 2}},
		{0, 1, []int{1, 2, 3}},
		{20 * time.Hour, 200, []int{1}},
		{20 * time.Hour, 199, []int{1, 2}},
	}
	for _, r := range rows {
		if got := numbers(Expired(metas, 30*hour, r.age, r.bytes)); !slices.Equal(got, r.want) {
			t.Errorf("%v, %d bytes: %v, want %v", r.age, r.bytes, got, r.want)
		}
	}
}

func ExamplePlan() {
	metas := []block.Meta{meta(1, 1, 0, 2, 10), meta(2, 2, 0, 2, 10), meta(3, 9, 8, 10, 10)}
	for _, j := range Plan(metas, 10*hour, Options{}) {
		fmt.Println(len(j.Blocks), "blocks within", j.Range)
	}
	// Output: 2 blocks within 8h0m0s
}

// A backfill leaves hundreds of blocks within minutes. They are merged before they are an hour old, a few at a time, and by time.
func TestPlanOfABackfill(t *testing.T) {
	const now = 100_000
	var metas []block.Meta
	for n := range 360 {
		m := meta(0, now, 0, 0, 100)
		m.ULID[14], m.ULID[15] = byte(n>>8), byte(n)
		m.MinTime, m.MaxTime = int64(2*n)*hour, int64(2*n+2)*hour-1
		metas = append(metas, m)
	}
	rewritten := int64(0)
	for made := 1000; ; made++ {
		jobs := Plan(metas, now*hour, Options{})
		if len(jobs) == 0 {
			break
		}
		merged := meta(0, now, 0, 0, 0)
		merged.ULID[14], merged.ULID[15] = byte(made>>8), byte(made)
		merged.MinTime = math.MaxInt64
		size := int64(0)
		metas = slices.DeleteFunc(metas, func(m block.Meta) bool {
			if !slices.Contains(jobs[0].Blocks, m.ULID) {
				return false
			}
			merged.MinTime, merged.MaxTime = min(merged.MinTime, m.MinTime), max(merged.MaxTime, m.MaxTime)
			size += m.Bytes()
			return true
		})
		if n := len(jobs[0].Blocks); n < 2 || n > 16 {
			t.Fatalf("%d blocks are merged at a time", n)
		}
		merged.Files = map[string]block.FileMeta{block.ChunksFile: {Size: size}}
		metas = append(metas, merged)
		rewritten += size
	}
	if len(metas) > 32 || rewritten > 3*36_000 {
		t.Errorf("%d blocks are left, %.1f times rewritten", len(metas), float64(rewritten)/36_000)
	}
	slices.SortFunc(metas, func(a, b block.Meta) int { return cmp.Compare(a.MinTime, b.MinTime) })
	for i := 1; i < len(metas); i++ {
		if metas[i].MinTime <= metas[i-1].MaxTime {
			t.Errorf("blocks %d and %d overlap, which none did before", i-1, i)
		}
	}
}
