package proc

import "testing"

// Two processes at a time get different ports, though nobody listens on them yet.
func TestPortsOfTwoProcessesAreDifferent(t *testing.T) {
	var mine, theirs Ports // each is what one process has
	seen := map[int]bool{}
	for range 300 { // so many of each would have four or five in common
		seen[mine.Next(t)], seen[theirs.Next(t)] = true, true
	}
	if len(seen) != 600 {
		t.Errorf("%d of 600 ports are different", len(seen))
	}
}
