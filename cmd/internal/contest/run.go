package contest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// load is what one server gets before it is measured in one or more scenarios.
type load struct {
	name    string
	figures []string // of [Scenarios], for which it is
	run     func(ctx context.Context, b *bout) error
	only    string // the rival that alone can do it
}

func (o *Options) loads() []load {
	all := []load{
		{name: "fleet", figures: []string{"ingest", "queries", "start"}, run: fleet},
		{name: "million", figures: []string{"million", "start"}, run: million},
		{name: "week", figures: []string{"week", "start"}, run: week},
		{name: "month", figures: []string{"start"}, run: month},
		{name: "real", figures: []string{"real"}, run: realSeries},
		{name: "churn", figures: []string{"churn"}, run: churn},
		{name: "mqtt", figures: []string{"mqtt"}, run: messages, only: MiniTrue},
	}
	var wanted []load
	for _, l := range all {
		if o.wants(l.figures...) && (l.name != "real" || o.SeriesDir != "") {
			wanted = append(wanted, l)
		}
	}
	return wanted
}

// Run runs every wanted scenario on every rival, one after the other. A scenario in which a server fails is
// reported and does not keep the others from theirs; the error is for what makes going on useless.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("bench compare: %w", err)
	}
	r := &Report{command: "bench compare", Date: time.Now(), Machine: machine(), Versions: map[string]string{}, Sizes: o.Sizes, rivals: o.Rivals}
	for _, v := range o.Rivals {
		r.Versions[v.Name] = v.version(v.Exe)
	}
	r.note("every server ran alone, with GOMAXPROCS=%d and a folder of its own; VictoriaMetrics with -search.disableCache, "+
		"so that no answer comes from a cache of results", o.Procs)
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("bench compare: %w", err)
	}
	for _, l := range o.loads() {
		asked := answers{}
		now := time.Now().Add(-time.Minute).Truncate(time.Minute)
		for _, v := range o.Rivals {
			if l.only != "" && l.only != v.Name {
				continue
			}
			err := runBout(ctx, &bout{o: &o, rival: v, load: l, report: r, answers: asked, now: now.UnixMilli()})
			if ctx.Err() != nil {
				return r, context.Cause(ctx)
			}
			if err != nil {
				r.Failures = append(r.Failures, fmt.Sprintf("%s, %s: %v", l.name, v.Title, err))
				o.Log("%s, %s: %v", l.name, v.Title, err)
			}
		}
		asked.judge(r, l.name)
	}
	return r, nil
}

// runBout gives a server its turn and leaves nothing behind.
func runBout(ctx context.Context, b *bout) (err error) {
	b.dir, err = os.MkdirTemp(b.o.Dir, b.load.name+"-"+b.rival.Name+"-")
	if err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if !b.o.Keep {
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	ctx, b.cancel = context.WithCancelCause(ctx)
	defer b.cancel(nil)
	b.logf("starts")
	began := time.Now()
	err = b.begin(ctx)
	if err == nil {
		err = b.load.run(ctx, b)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the death of the server, not what it caused
	}
	if b.program != nil {
		if stopErr := b.program.stop(); err == nil {
			err = stopErr
		}
	}
	b.logf("has ended after %v", time.Since(began).Round(100*time.Millisecond))
	return err
}

// machine is what the figures depend on.
func machine() string {
	cpu := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := field(string(b), "model name"); name != "" {
			cpu = name
		}
	}
	memory := ""
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kb int64
		if _, err := fmt.Sscanf(field(string(b), "MemTotal"), "%d kB", &kb); err == nil {
			memory = fmt.Sprintf(", %d GiB", (kb+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores of %s%s, the load generator on them too", runtime.NumCPU(), cpu, memory)
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
