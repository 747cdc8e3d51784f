package gossip

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/minitrue/minitrue/chunk/disk"
)

// identity is node.json: who this node is, for as long as its data folder lives.
type identity struct {
	ID      string `json:"id"`
	Name    string `json:"name"`              // as it was last called, for people
	Cluster string `json:"cluster,omitempty"` // the only one to which it can belong; "" before it does
}

const identityFile = "node.json"

// readIdentity reads node.json, or makes it at the first start.
func readIdentity(o Options) (identity, error) {
	path := filepath.Join(o.Dir, identityFile)
	b, err := os.ReadFile(path)
	var id identity
	switch {
	case errors.Is(err, os.ErrNotExist):
		if id.ID, err = newUUID(); err != nil {
			return id, err
		}
	case err != nil:
		return id, fmt.Errorf("read identity: %w", err)
	default:
		if err := json.Unmarshal(b, &id); err != nil {
			return id, fmt.Errorf("read identity %s: %w", path, err)
		}
		if err := uuid.Validate(id.ID); err != nil {
			return id, fmt.Errorf("read identity %s: id %q: %w", path, id.ID, err)
		}
		if err := uuid.Validate(id.Cluster); id.Cluster != "" && err != nil {
			return id, fmt.Errorf("read identity %s: cluster %q: %w", path, id.Cluster, err)
		}
	}
	known := id.Name
	if id.Name = cmp.Or(o.Name, id.Name, short(id.ID)); id.Name != known {
		err = id.write(o)
	}
	return id, err
}

func (id identity) write(o Options) error {
	b, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(o.Dir, identityFile)
	if err := disk.WriteFile(o.FS, path, append(b, '\n')); err != nil {
		return fmt.Errorf("write identity %s: %w", path, err)
	}
	return nil
}

func newUUID() (string, error) {
	u, err := uuid.NewRandom()
	if err != nil {
		return "", fmt.Errorf("make a UUID: %w", err)
	}
	return u.String(), nil
}

// run tells the lives of one node apart.
type run struct {
	began int64  // Unix ns
	nonce uint32 // for two that began at once
}

func newRun(now time.Time) (run, error) {
	u, err := uuid.NewRandom()
	if err != nil {
		return run{}, fmt.Errorf("make a number for this run: %w", err)
	}
	return run{now.UnixNano(), u.ID()}, nil
}

// before says which of two began first.
func (r run) before(o run) bool {
	return cmp.Or(cmp.Compare(r.began, o.began), cmp.Compare(r.nonce, o.nonce)) < 0
}

// member is the name of a run of a node in memberlist.
func (r run) member(id string) string {
	return fmt.Sprintf("%s.%016x%08x", id, uint64(r.began), r.nonce)
}

// parseMember is the inverse of member.
func parseMember(name string) (id string, r run, err error) {
	id, text, _ := strings.Cut(name, ".")
	if uuid.Validate(id) != nil || len(id) != 36 || len(text) != 24 {
		return "", run{}, fmt.Errorf("%q is no name of a member", name)
	}
	began, err := strconv.ParseUint(text[:16], 16, 64)
	if err != nil {
		return "", run{}, fmt.Errorf("name of a member: %w", err)
	}
	nonce, err := strconv.ParseUint(text[16:], 16, 32)
	if err != nil {
		return "", run{}, fmt.Errorf("name of a member: %w", err)
	}
	return id, run{int64(began), uint32(nonce)}, nil
}
