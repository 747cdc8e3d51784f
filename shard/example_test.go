package shard_test

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// Where a series lies, and what a fourth node changes.
func Example() {
	nodes := []shard.Node{
		{ID: "a", Zone: "cellar", State: shard.Active},
		{ID: "b", Zone: "cellar", State: shard.Active},
		{ID: "c", Zone: "roof", State: shard.Active},
	}
	p := shard.Partition(labels.FromStrings("__name__", "temperature", "device_id", "d1"), "device_id")
	ring, err := shard.NewRing(nodes, 2)
	if err != nil {
		panic(err)
	}
	fmt.Print("partition ", p, " is on")
	for _, i := range ring.Owners(p) {
		fmt.Print(" ", ring.Nodes()[i].ID)
	}
	fmt.Println()

	ring, err = shard.NewRing(append(nodes, shard.Node{ID: "d", Zone: "roof", State: shard.Joining}), 2)
	if err != nil {
		panic(err)
	}
	d := ring.Index("d")
	fmt.Println("d owns", ring.Owned(d).Len(), "partitions and is written", ring.Written(d).Len())
	// Output:
	// partition 1809 is on c a
	// d owns 0 partitions and is written 1962
}
