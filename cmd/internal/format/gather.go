package format

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/cmd/internal/flow"
)

const (
	gatherRun   = 4096   // samples of one run
	markEvery   = 20_000 // rows between two marks
	cachedNames = 20_000 // series whose labels are remembered
)

// Emit and Mark are what a reader calls, see [flow.Source].
type (
	Emit func(*flow.Run) error
	Mark func(position int64) error
)

// gather makes runs of rows. Positions are rows.
type gather struct {
	emit Emit
	mark Mark
	from int64 // rows that are passed over
	row  int64
	key  string
	cur  flow.Run
	seen map[string]labels.Labels
}

func newGather(from int64, emit Emit, mark Mark) *gather {
	return &gather{emit: emit, mark: mark, from: from, seen: map[string]labels.Labels{}}
}

// skip counts the next row, and reports whether it is to be passed over.
func (g *gather) skip() (bool, error) {
	if g.row > g.from && g.row%markEvery == 0 {
		if err := g.flush(); err != nil {
			return false, err
		}
		if err := g.mark(g.row); err != nil {
			return false, err
		}
	}
	g.row++
	return g.row <= g.from, nil
}

// labels remembers what a key means.
func (g *gather) labels(key []byte, parse func() (labels.Labels, error)) (string, labels.Labels, error) {
	if string(key) == g.key && !g.cur.Labels.IsEmpty() {
		return g.key, g.cur.Labels, nil
	}
	if ls, ok := g.seen[string(key)]; ok {
		return string(key), ls, nil
	}
	ls, err := parse()
	if err != nil {
		return "", ls, err
	}
	if len(g.seen) >= cachedNames {
		clear(g.seen)
	}
	k := string(key)
	g.seen[k] = ls
	return k, ls, nil
}

// add adds a sample of the series that a key means.
func (g *gather) add(key string, ls labels.Labels, s series.Sample) error {
	if key != g.key || len(g.cur.Floats) >= gatherRun || g.cur.Labels.IsEmpty() {
		if err := g.flush(); err != nil {
			return err
		}
		g.key, g.cur.Labels = key, ls
	}
	g.cur.Floats = append(g.cur.Floats, s)
	return nil
}

func (g *gather) flush() error {
	if g.cur.Len() == 0 {
		return nil
	}
	err := g.emit(&g.cur)
	g.cur = flow.Run{Labels: g.cur.Labels, Floats: g.cur.Floats[:0], About: g.cur.About}
	return err
}

// end is the end of the file.
func (g *gather) end() error {
	if err := g.flush(); err != nil {
		return err
	}
	return g.mark(g.row)
}

// build checks and sorts labels that came from a file. An empty value is no label.
func build(b *labels.ScratchBuilder) (labels.Labels, error) {
	b.Sort()
	ls := b.Labels()
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return ls, fmt.Errorf("the label %q comes twice", name)
	}
	if ls.IsEmpty() {
		return ls, errors.New("the series has no labels")
	}
	return ls, nil
}
