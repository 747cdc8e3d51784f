package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/minitrue/minitrue/chunk"
	"github.com/minitrue/minitrue/chunk/block"
	"github.com/minitrue/minitrue/chunk/wal"
)

// settle reads until no query meets damage any more, of which each names the file, and returns what is there then.
func (r *flipRun) settle() map[string]map[int64]bool {
	r.t.Helper()
	for range 3 {
		got, err := r.seen()
		if err == nil {
			return got
		}
		r.names(err)
	}
	r.t.Fatal("queries go on failing")
	return nil
}

// names checks that an error names the damaged file of a block.
func (r *flipRun) names(err error) {
	r.t.Helper()
	var damage *block.CorruptError
	if !errors.As(err, &damage) || filepath.Base(damage.Block) != filepath.Base(filepath.Dir(r.file)) || damage.File != filepath.Base(r.file) {
		r.t.Errorf("the error does not name %s: %v", r.file, err)
	}
}

// missing checks that nothing is missing but samples for which may says so, and returns how many are.
func (r *flipRun) missing(got map[string]map[int64]bool, may func(name string, at int64) bool) (n int) {
	r.t.Helper()
	for name, samples := range r.model {
		for at := range samples {
			switch {
			case got[name][at]:
			case may == nil || !may(name, at):
				r.t.Errorf("%s misses its sample at %d", name, at)
				return n
			default:
				n++
			}
		}
	}
	return n
}

// goesOn appends, reads it back, flushes and merges, and reads all again: nothing more is missing then.
func (r *flipRun) goesOn(may func(string, int64) bool) {
	r.t.Helper()
	own := &flipWorld{model: model{}}
	for name, samples := range r.model {
		for at, v := range samples {
			own.model.add(name, at, v)
		}
	}
	r.flipWorld = own // the samples of this run are not those of others
	own.write(r.t, r.s, flipLast, flipSamples, flipSamples+10)
	for _, step := range []func() error{
		func() error { return nil },
		func() error { return r.s.Flush(r.t.Context()) },
		func() error { return r.s.CompactAll(r.t.Context()) },
	} {
		if err := step(); err != nil {
			r.t.Error(err)
		}
		r.missing(r.settle(), may)
	}
}

// block damages a file of a block.
func (r *flipRun) block(opened bool, at float64) {
	dir := filepath.Dir(r.path())
	before, err := block.Open(dir, block.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	of := before.Meta()
	before.Close()
	inside := func(_ string, t int64) bool { return of.MinTime <= t && t <= of.MaxTime }
	if !opened {
		r.flip(at)
	}
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
	if opened {
		r.missing(r.settle(), nil)
		r.flip(at)
	}
	gone := r.missing(r.settle(), inside)
	aside, anew := testutil.ToFloat64(r.s.m.quarantined), testutil.ToFloat64(r.s.m.reindexed)
	switch {
	case gone > 0 && aside != 1 || gone == 0 && aside != 0 || aside+anew > 1 || anew > 0 != (filepath.Base(r.file) == block.IndexFile):
		r.t.Errorf("%d samples are missing, %v blocks were set aside, %v indexes made anew", gone, aside, anew)
	case aside > 0 && r.log.count("file="+filepath.Base(r.file)) != 1 || anew > 0 && r.log.count(r.file) == 0:
		r.t.Error("the log does not name the file")
	case aside+anew == 0: // it lies where no query reads
		b, err := block.Open(dir, block.Options{ReadOnly: true})
		if err == nil {
			err = b.Verify()
			b.Close()
		}
		r.names(err)
	}
	r.goesOn(inside)
	r.close()
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
	r.missing(r.settle(), inside)
	r.close()
}

// segment damages the log: the start names the place, and a repair brings everything back.
func (r *flipRun) segment(opened bool, at float64) {
	inLog := func(_ string, t int64) bool { return t >= flipLast }
	if opened {
		if err := r.open(); err != nil {
			r.t.Fatal(err)
		}
		r.flip(at)
		r.missing(r.settle(), nil)
		r.close()
	} else {
		r.flip(at)
	}
	err := r.open()
	if err != nil {
		var damage *wal.CorruptError
		if !errors.As(err, &damage) || damage.Path != r.path() {
			r.t.Fatalf("the error does not name %s: %v", r.file, err)
		}
		if _, err := wal.Repair(filepath.Join(r.dir, "wal")); err != nil {
			r.t.Fatal(err)
		}
		if err := r.open(); err != nil {
			r.t.Fatalf("open after a repair: %v", err)
		}
		r.missing(r.settle(), nil)
	} else if n := r.missing(r.settle(), inLog); n > 0 && (n > flipSamples/10 || r.log.count(r.file) == 0) {
		// Only the last write may be taken for one that was interrupted, where what is behind the bit is zero.
		r.t.Errorf("%d samples are missing, and the start was none the wiser", n)
	}
	r.goesOn(inLog)
	r.close()
}

// tombstones damages what was deleted: it does not come back.
func (r *flipRun) tombstones(opened bool, at float64) {
	good, err := os.ReadFile(r.path())
	if err != nil {
		r.t.Fatal(err)
	}
	if opened {
		if err := r.open(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.flip(at)
	if opened {
		r.missing(r.settle(), nil)
		copied, err := r.s.Snapshot(r.t.Context(), "copy")
		if err != nil {
			r.t.Fatal(err)
		}
		r.close()
		again := &flipRun{flipWorld: r.flipWorld, t: r.t, dir: copied}
		if err := again.open(); err != nil {
			r.t.Fatalf("open the snapshot: %v", err)
		}
		again.missing(again.settle(), nil)
		again.close()
	}
	if err := r.open(); err == nil || !strings.Contains(err.Error(), r.path()) {
		r.t.Fatalf("the error does not name %s: %v", r.file, err)
	}
	if err := os.WriteFile(r.path(), good, 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := r.open(); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.s.Delete(r.t.Context(), 3*chunk.Span, 4*chunk.Span, labels.MustNewMatcher(labels.MatchEqual, "device_id", "d1")); err != nil {
		r.t.Error(err)
	}
	r.goesOn(nil)
	r.close()
}
