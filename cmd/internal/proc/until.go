package proc

import (
	"testing"
	"time"
)

const (
	patience = (2 + slower) * time.Minute // for what happens in a moment on a machine with nothing else to do
	pause    = 20 * time.Millisecond
)

// Until asks again and again until there is no error. It fails the test when that takes
// minutes, which says that it will not happen and nothing about speed.
func Until(t testing.TB, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ok()
		if err == nil {
			return
		}
		if t.Context().Err() != nil || time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s: %v", what, err)
		}
		time.Sleep(pause)
	}
}
