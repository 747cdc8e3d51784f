package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/minitrue/minitrue/shard"
	"github.com/minitrue/minitrue/shard/peer"
)

// One node streams the squares, another reads them.
func Example() {
	secret := []byte("what all nodes share")
	server := peer.NewServer(peer.ServerOptions{Secret: secret})
	server.Handle("/peer/v1/squares", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		frames := peer.NewFrameWriter(w)
		for i := range 3 {
			if frames.Write(fmt.Appendf(nil, "%d", i*i)) != nil {
				return // the reader has gone
			}
		}
		_ = frames.Close(nil)
	}))
	node := httptest.NewServer(server)
	defer node.Close()

	client := peer.NewClient(peer.ClientOptions{Self: "ing1", Secret: secret})
	defer client.Close()
	resp, err := client.Post(context.Background(), shard.Member{Name: "ing2", Peer: strings.TrimPrefix(node.URL, "http://")}, "/peer/v1/squares", nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	frames := peer.NewFrameReader(resp.Body, 1<<20)
	for {
		payload, err := frames.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s ", payload)
	}
	// Output: 0 1 4
}
