package cluster

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/shard"
)

// Answers to who repairs rest, those to who queries do not; and both say the same.
func TestAnswersToWhoRepairsRest(t *testing.T) {
	c := newReadCluster(t, 1, 1, ReaderOptions{})
	c.fill(t, rand.New(rand.NewPCG(43, 44)), 0)
	nd := c.nodes[0]
	h := NewReadHandlers(nd.source, nd, AnswerOptions{})
	now, rests := time.Unix(0, 0), 0
	h.cycle.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
	h.cycle.Wait = func(_ context.Context, d time.Duration) {
		if rests++; d != 3*time.Millisecond {
			t.Errorf("after a millisecond of work it rests for %v", d)
		}
	}
	q := &request{parts: shard.All(), mint: firstTime, maxt: lastTime, cut: always, sets: [][]*labels.Matcher{{everything}}}
	var answers [][]byte
	for _, row := range []struct {
		answer func(context.Context, *answerWriter, *request) error
		rests  bool
	}{{h.scan, false}, {h.fetch, true}} {
		rests = 0
		out := httptest.NewRecorder()
		if err := row.answer(t.Context(), newAnswerWriter(out, time.Minute), q); err != nil {
			t.Fatal(err)
		}
		if row.rests != (rests > 0) {
			t.Errorf("it has rested %d times", rests)
		}
		answers = append(answers, out.Body.Bytes())
	}
	if len(answers[0]) < 1000 || !bytes.Equal(answers[0], answers[1]) {
		t.Errorf("answers of %d and %d bytes differ", len(answers[0]), len(answers[1]))
	}
}
