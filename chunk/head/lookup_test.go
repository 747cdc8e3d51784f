package head

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
)

// Lookup is Ref of each, in whatever order the ids come: runs of those that follow each other, strangers between them, and the ends of pages.
func TestLookup(t *testing.T) {
	const n = 2<<refBits + 100
	reg := NewRegistry(RegistryOptions{})
	defer reg.Release()
	keys, ids, want := make([][]byte, n), make([]series.ID, n), make([]Ref, n)
	for i := range keys {
		keys[i] = series.AppendKey(nil, labels.FromStrings("__name__", "m", "device_id", fmt.Sprint(i)))
		ids[i] = series.HashKey(keys[i])
	}
	refs := make([]Ref, n)
	if unknown := reg.Lookup(ids, refs); unknown != n {
		t.Fatalf("%d of %d are unknown to an empty registry", unknown, n)
	}
	if err := reg.Register(keys, ids, want, 0); err != nil {
		t.Fatal(err)
	}
	all := map[series.ID]Ref{}
	for i, id := range ids {
		all[id] = want[i]
	}
	check := func(name string, ids []series.ID) {
		t.Helper()
		refs := make([]Ref, len(ids))
		for i := range refs {
			refs[i] = Ref(1 + i%7) // what was there before does not matter
		}
		unknown := 0
		got := reg.Lookup(ids, refs)
		for i, id := range ids {
			if refs[i] != all[id] {
				t.Fatalf("%s: id %d of %d has ref %d, want %d", name, i, len(ids), refs[i], all[id])
			}
			if refs[i] == 0 {
				unknown++
			}
		}
		if got != unknown {
			t.Fatalf("%s: %d are said to be unknown, %d are", name, got, unknown)
		}
	}
	check("all", ids)
	check("none", nil)
	r := rand.New(rand.NewPCG(1, 4))
	for range 200 {
		var some []series.ID
		for range r.IntN(20) {
			switch from := r.IntN(n); r.IntN(4) {
			case 0: // zero is what stands where a page has no series
				some = append(some, series.ID{}, series.ID{Hi: r.Uint64(), Lo: r.Uint64()})
			case 1:
				from = 1<<refBits*(1+r.IntN(2)) - r.IntN(20) // near the end of a page
				fallthrough
			case 2:
				some = append(some, ids[from:min(n, from+r.IntN(100))]...)
			case 3:
				for range r.IntN(50) {
					some = append(some, ids[r.IntN(n)])
				}
			}
		}
		check("some", some)
	}
	check("a zero id behind the end of a page", append(append([]series.ID{}, ids[:1<<refBits-1]...), series.ID{}, ids[1<<refBits]))
}
