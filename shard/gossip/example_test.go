package gossip_test

import (
	"context"
	"fmt"
	"os"

	"github.com/minitrue/minitrue/shard/gossip"
)

// The first node of a cluster, on a port that the system chooses.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	c, err := gossip.New(gossip.Options{Dir: dir, Name: "ing1", Bind: "127.0.0.1:0"})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	v := c.View()
	fmt.Println(v.Members[v.Self].Name, "is", v.Members[v.Self].State, "and owns", v.Ring.Owned(v.Self).Len(), "partitions")
	stop()
	if err := <-ended; err != nil {
		panic(err)
	}
	// Output: ing1 is active and owns 4096 partitions
}
