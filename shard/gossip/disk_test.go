package gossip

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minitrue/minitrue/chunk/disk"
)

// full is a disk that is full for a while.
type full struct {
	disk.FS
	is bool
}

func (f *full) Create(path string) (disk.File, error) {
	if f.is {
		return nil, errors.New("no space left")
	}
	return f.FS.Create(path)
}

func TestAFullDisk(t *testing.T) {
	fs := &full{FS: disk.OS}
	c, err := New(Options{Dir: t.TempDir(), FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	fs.is = true
	if err := c.SetSetting("write-consistency", "all"); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a change that is not on the disk: %v", err)
	}
	fs.is = false
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	again, err := New(c.o)
	if err != nil || again.Setting("write-consistency") != "all" {
		t.Errorf("what could be written later is %q: %v", again.Setting("write-consistency"), err)
	}
}

func TestDamagedFiles(t *testing.T) {
	rows := []struct {
		name, file string
		content    []byte // nil: removed
		seeds      []string
		want       string
	}{
		{"records, flipped", recordsFile, []byte("MTSET\x00\x00\x01abcdefgh"), nil, "checksum"},
		{"records, gone", recordsFile, nil, nil, "--seeds"},
		{"records, gone, with seeds", recordsFile, nil, []string{addrOf(1)}, ""},
		{"identity, no JSON", identityFile, []byte("{"), nil, "node.json"},
		{"identity, no UUID", identityFile, []byte(`{"id":"../x"}`), nil, "../x"},
		{"identity, no cluster", identityFile, []byte(`{"id":"3f1c1d4e-0001-4000-8000-000000000001","cluster":"x"}`), nil, "cluster"},
	}
	for _, row := range rows {
		o := Options{Dir: t.TempDir(), Bind: "127.0.0.1:0"}
		if _, err := New(o); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.Dir, row.file)
		var err error
		if row.content == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, row.content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		o.Seeds = row.seeds
		c, err := New(o)
		switch {
		case row.want == "" && (err != nil || c.View().Self != -1):
			t.Errorf("%s: %v", row.name, err)
		case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)):
			t.Errorf("%s: %v, want something about %s", row.name, err, row.want)
		}
	}
}
