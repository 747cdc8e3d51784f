package head

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

// Sorting rests while it compares, and holds nothing then that who registers series waits for; what is sorted once costs nothing again.
func TestSortedRests(t *testing.T) {
	const many = 2000
	reg := NewRegistry(RegistryOptions{})
	for i := range many {
		register(t, reg, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i*7919%many)))
	}
	rests := 0
	sorted := reg.Sorted(func() {
		if rests++; rests == 3 {
			register(t, reg, labels.FromStrings("__name__", "new"))
		}
	})
	if len(sorted) != many || rests < many/restEvery*5 {
		t.Errorf("%d series are sorted, and it has rested %d times", len(sorted), rests)
	}
	rests = 0
	if again := reg.Sorted(func() { rests++ }); len(again) != many+1 || rests == 0 { // one more is compared with all others
		t.Errorf("%d series are sorted then, and it has rested %d times", len(again), rests)
	}
	rests = 0
	if reg.Sorted(func() { rests++ }); rests != 0 {
		t.Errorf("it rests %d times when all is sorted", rests)
	}
}
