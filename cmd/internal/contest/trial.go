package contest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/workload"
)

// trial is one scenario of clusters.
type trial struct {
	o      *ClusterOptions
	report *Report
	name   string
	dir    string
	cancel context.CancelCauseFunc
	nodes  []*member // of the cluster that runs
	made   int       // clusters so far
}

// member is a node of the cluster.
type member struct {
	name, url, gossip string
	args              []string
	log               string
	*program
}

// standing is what a trial needs of GET /api/v1/cluster.
type standing struct {
	Self  string
	Epoch string
	Nodes []struct {
		ID, Name, State string
		Up              bool
	}
	Change  any
	Hints   map[string]int64
	Digests string
}

func runTrial(ctx context.Context, t *trial, run func(context.Context, *trial) error) (err error) {
	if err := os.MkdirAll(t.o.Dir, 0o755); err != nil {
		return err
	}
	if t.dir, err = os.MkdirTemp(t.o.Dir, "cluster-"+t.name+"-"); err != nil {
		return err
	}
	if t.dir, err = filepath.Abs(t.dir); err != nil {
		return err
	}
	if !t.o.Keep {
		defer func() { err = errors.Join(err, os.RemoveAll(t.dir)) }()
	}
	ctx, t.cancel = context.WithCancelCause(ctx)
	defer t.cancel(nil)
	err = run(ctx, t)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the death of a node, not what it caused
	}
	return errors.Join(err, t.end())
}

func (t *trial) logf(format string, args ...any) {
	t.o.Log("%-6s %s", t.name, fmt.Sprintf(format, args...))
}

func (t *trial) record(f Figure, v float64) { t.report.record(f, MiniTrue, v) }

func (t *trial) raw(name string, v any) {
	t.report.Raw = append(t.report.Raw, Raw{t.name, MiniTrue, name, v})
}

// begin starts a cluster of so many nodes.
func (t *trial) begin(ctx context.Context, size int, args ...string) error {
	t.made++
	for range size {
		if err := t.grow(ctx, args...); err != nil {
			return err
		}
	}
	t.logf("a cluster of %d begins", size)
	return t.untilActive(ctx, size)
}

// grow starts one more node.
func (t *trial) grow(ctx context.Context, args ...string) error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	number := func(i int) string { return strconv.Itoa(ports[i]) }
	m := &member{name: "n" + strconv.Itoa(len(t.nodes)+1), url: "http://127.0.0.1:" + number(0), gossip: "127.0.0.1:" + number(2)}
	m.log = filepath.Join(t.dir, fmt.Sprintf("log-%d-%s", t.made, m.name))
	m.args = append([]string{"--listen=127.0.0.1", "--port=" + number(0), "--mqtt-listen=127.0.0.1:" + number(1), "--tcp-port=" + number(2),
		"--peer-port=" + number(3), "--node-id=" + m.name, "--query-max-samples=" + maxSamples,
		"--data-dir=" + filepath.Join(t.dir, fmt.Sprintf("data-%d-%s", t.made, m.name))}, args...)
	if len(t.nodes) > 0 {
		m.args = append(m.args, "--seeds="+t.nodes[0].gossip)
	}
	if err := t.start(ctx, m); err != nil {
		return err
	}
	t.nodes = append(t.nodes, m)
	return nil
}

// start starts a node, again if it has ended, and returns when it is ready. Its death ends the trial.
func (t *trial) start(ctx context.Context, m *member) (err error) {
	p, err := launch(t.o.Exe, m.args, nil, m.log)
	if err != nil {
		return err
	}
	m.program = p
	go func() {
		<-p.done
		if !p.told.Load() {
			t.cancel(p.ended())
		}
	}()
	return until(ctx, time.Minute, m.name+" is ready", func() error {
		_, err := get(ctx, m.url+"/-/ready")
		return err
	})
}

// end ends the cluster.
func (t *trial) end() (err error) {
	for _, m := range t.nodes {
		err = errors.Join(err, m.stop())
	}
	t.nodes = nil
	return err
}

// until asks again until there is no error.
func until(ctx context.Context, patience time.Duration, what string, ask func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %v: %s: %w", patience, what, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *member) standing(ctx context.Context, query string) (s standing, err error) {
	body, err := get(ctx, m.url+"/api/v1/cluster"+query)
	if err != nil {
		return s, err
	}
	answer := struct{ Data *standing }{&s}
	return s, json.Unmarshal(body, &answer)
}

// untilActive waits until all nodes say that there are so many, active and up, on one ring that does not change.
func (t *trial) untilActive(ctx context.Context, size int) error {
	return until(ctx, 30*time.Minute, fmt.Sprintf("%d nodes are active", size), func() error {
		epochs := map[string]bool{}
		for _, m := range t.nodes {
			s, err := m.standing(ctx, "")
			if err != nil {
				return err
			}
			epochs[s.Epoch] = true
			for _, n := range s.Nodes {
				if n.State != "active" || !n.Up {
					return fmt.Errorf("%s says that %s is %s, up: %v", m.name, n.Name, n.State, n.Up)
				}
			}
			if len(s.Nodes) != size || s.Change != nil || len(epochs) != 1 {
				return fmt.Errorf("%s knows %d nodes, of %d rings, change: %v", m.name, len(s.Nodes), len(epochs), s.Change)
			}
		}
		return nil
	})
}

// untilEqual waits until all nodes keep the same and no hint waits. All must keep everything.
func (t *trial) untilEqual(ctx context.Context) error {
	return until(ctx, 30*time.Minute, "all nodes have the same", func() error {
		digests := map[string]bool{}
		for _, m := range t.nodes {
			s, err := m.standing(ctx, "?digests=1")
			if err != nil {
				return err
			}
			for node, bytes := range s.Hints {
				if bytes > 0 {
					return fmt.Errorf("%s has %d bytes of hints for %s", m.name, bytes, node)
				}
			}
			digests[s.Digests] = true
		}
		if len(digests) != 1 {
			return fmt.Errorf("there are %d digests", len(digests))
		}
		return nil
	})
}

// merge has every node write out and merge what it has.
func (t *trial) merge(ctx context.Context) error {
	for _, m := range t.nodes {
		if err := minitrueMerge(ctx, m.url); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up a metric over all nodes and all its labels.
func (t *trial) sum(ctx context.Context, metrics ...string) (total float64, err error) {
	for _, m := range t.nodes {
		body, err := get(ctx, m.url+"/metrics")
		if err != nil {
			return 0, err
		}
		for sc := bufio.NewScanner(bytes.NewReader(body)); sc.Scan(); {
			line := sc.Text()
			for _, name := range metrics {
				if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == '{' || rest[0] == ' ') {
					v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
					if err != nil {
						return 0, fmt.Errorf("metric %s: %w", name, err)
					}
					total += v
				}
			}
		}
	}
	return total, nil
}

// cpu is the processor time that all nodes have taken.
func (t *trial) cpu() (total time.Duration, err error) {
	for _, m := range t.nodes {
		d, err := bench.Process{PID: m.pid()}.CPU()
		if err != nil {
			return 0, err
		}
		total += d
	}
	return total, nil
}

// loader writes to a node.
func (t *trial) loader(m *member, rate float64) (*bench.Loader, error) {
	return bench.NewLoader(bench.LoadOptions{URL: m.url, Rate: rate, Progress: func(n int64) { t.logf("%s samples are written", group(n)) }})
}

// whole is a load of all the samples, which ends now.
func (t *trial) whole() (workload.Shape, []*workload.Batch, error) {
	z := t.o.Sizes
	s := workload.Shape{Series: z.Series, Samples: z.Samples / z.Series, Interval: fleetInterval, Seed: seed, Values: workload.Walk}
	s.Start = time.Now().UnixMilli() - int64(s.Samples)*s.Interval
	batches, err := cut(s, 0, s.Series)
	return s, batches, err
}

// write writes steps of batches to the first node as fast as it goes.
func (t *trial) write(ctx context.Context, batches []*workload.Batch, steps, each int) (bench.LoadReport, error) {
	l, err := t.loader(t.nodes[0], 0)
	if err != nil {
		return bench.LoadReport{}, err
	}
	defer l.Close()
	r, err := l.Write(ctx, batches, steps, each)
	t.raw("load", r)
	return r, err
}
