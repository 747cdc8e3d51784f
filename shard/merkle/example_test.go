package merkle_test

import (
	"fmt"

	"github.com/minitrue/minitrue/shard/merkle"
)

// Two nodes write, and each gets what the other wrote.
func ExampleSet() {
	const now = 1_800_000_000_000 // Unix ms
	a, b := merkle.NewSet("a"), merkle.NewSet("b")
	if _, err := a.Put(now, "setting/color", []byte("red")); err != nil {
		panic(err)
	}
	if _, err := b.Put(now+5, "setting/color", []byte("blue")); err != nil {
		panic(err)
	}
	mine, theirs := a.Digests(), b.Digests()
	for i := range mine {
		if mine[i] != theirs[i] {
			changed, err := a.Merge(now+9, b.Bucket(i))
			fmt.Println(len(changed), "record changed, err", err)
		}
	}
	color, _ := a.Get("setting/color")
	fmt.Println(string(color))
	// Output:
	// 1 record changed, err <nil>
	// blue
}
