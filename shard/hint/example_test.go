package hint_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/minitrue/minitrue/shard/hint"
)

// A node was away while two writes came.
func Example() {
	dir, err := os.MkdirTemp("", "hints")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := hint.Open(dir, hint.Options{MaxBytes: 64 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, write := range []string{"20.5", "20.7"} {
		if err := s.Append("ing2", hint.Hint{Time: time.Now().UnixMilli(), Body: []byte(write)}); err != nil {
			fmt.Println(err) // the other nodes have it, and repair will give it to ing2
		}
	}
	err = s.Replay(context.Background(), "ing2", func(_ context.Context, h hint.Hint) error {
		fmt.Printf("send %s to ing2\n", h.Body)
		return nil
	})
	fmt.Println(err, s.Pending("ing2"))
	// Output:
	// send 20.5 to ing2
	// send 20.7 to ing2
	// <nil> 0
}
