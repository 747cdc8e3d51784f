package mqtt

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// Subscriptions are bounded over all sessions, and each may have a few.
func TestSubscriptionsOfAllSessions(t *testing.T) {
	b := startBroker(t, &memory{}, BrokerOptions{MaxSubscriptions: 500})
	before, most := heap(), 0
	for c := range 20 {
		all := []byte{0, 7}
		for i := range 200 {
			all = append(utf8String(all, fmt.Sprint(c, "x", i)+strings.Repeat("/y", maxTopicLevels-1)), 0)
		}
		p := connect(t, b.Addr().String(), fmt.Sprint("c", c), 4, 0)
		p.send(packet(0x82, all))
		_, body := p.packet()
		for i, code := range body[2:] {
			if code == 0 {
				most++
			} else if i < filterShare {
				t.Errorf("client %d gets no filter %d", c, i)
			}
		}
		p.Close()
	}
	if n := atomic.LoadInt64(&b.server.Info.Subscriptions); n != int64(most) || n < 500 || n > 500+20*filterShare {
		t.Errorf("there are %d subscriptions, with %d MiB, of 500", n, heap()-before)
	}
}
