package contest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

const profileTime = 5 * time.Second

// profile takes a CPU profile of the server, if profiles are wanted; the function that it returns waits for its end.
func (b *bout) profile(ctx context.Context, name string) (wait func()) {
	if b.o.Profiles == "" {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body, err := get(ctx, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", b.url, int(profileTime.Seconds())))
		if err == nil {
			if err = os.MkdirAll(b.o.Profiles, 0o755); err == nil {
				err = os.WriteFile(filepath.Join(b.o.Profiles, b.load.name+"-"+b.rival.Name+"-"+name+".pprof"), body, 0o644)
			}
		}
		if err != nil {
			b.logf("profile of %s: %v", name, err)
		}
	}()
	return func() { <-done }
}

// profileQuestion asks a question for as long as a profile takes, when nothing is measured.
func (b *bout) profileQuestion(ctx context.Context, client *bench.Client, q inquiry) error {
	if b.o.Profiles == "" {
		return nil
	}
	wait := b.profile(ctx, q.figure.ID)
	defer wait()
	for n, deadline := 0, time.Now().Add(profileTime); time.Now().Before(deadline); n++ {
		if _, _, err := client.Ask(ctx, q.at(n%mostTimes)); err != nil {
			return err
		}
	}
	return nil
}
