package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Consistency says how many of a partition's owners must have stored a write before it is acknowledged.
type Consistency int32

// The consistencies. Quorum is more than half of the owners: two of three.
const (
	Quorum Consistency = iota
	One
	All
)

var consistencies = []string{"quorum", "one", "all"}

func (c Consistency) String() string { return consistencies[c] }

// ParseConsistency reads a consistency by its name.
func ParseConsistency(s string) (Consistency, error) {
	i := slices.Index(consistencies, s)
	if i < 0 {
		return Quorum, fmt.Errorf("%q is no write consistency: want one of %s", s, strings.Join(consistencies, ", "))
	}
	return Consistency(i), nil
}

// Acks is how many of so many owners it takes.
func (c Consistency) Acks(owners int) int {
	switch c {
	case One:
		return 1
	case All:
		return max(owners, 1)
	}
	return owners/2 + 1
}
