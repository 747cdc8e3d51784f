package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	manifestVersion = 1
	manifests       = "backups/"
	maxManifest     = 256 << 20 // bytes; a million files take about 200 MB
)

// Manifest is one backup.
type Manifest struct {
	Version int       `json:"version"`
	ID      ulid.ULID `json:"id"`
	Created time.Time `json:"created"` // the state of the data folder is of this time or a little before
	Source  string    `json:"source"`  // host and folder, for people
	Blocks  int       `json:"blocks"`
	Samples uint64    `json:"samples"`  // in blocks
	MinTime int64     `json:"min_time"` // ms, of the blocks; 0 without any
	MaxTime int64     `json:"max_time"`
	Files   []File    `json:"files"`
}

// File is a file of a backup.
type File struct {
	Path   string `json:"path"`   // in the data folder, with slashes
	Object string `json:"object"` // in the bucket
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Bytes is the size of all files.
func (m Manifest) Bytes() (n int64) {
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

func (m Manifest) name() string { return manifests + m.ID.String() + ".json" }

// sealed is a manifest as it lies in the bucket: the SHA-256 is that of the bytes of Backup.
type sealed struct {
	SHA256 string          `json:"sha256"`
	Backup json.RawMessage `json:"backup"`
}

func (m Manifest) encode() ([]byte, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{sum(raw), raw})
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// decodeManifest checks a manifest that came from a bucket: nobody knows who else writes there.
func decodeManifest(b []byte) (Manifest, error) {
	var s sealed
	if err := json.Unmarshal(b, &s); err != nil {
		return Manifest{}, err
	}
	if got := sum(s.Backup); got != s.SHA256 {
		return Manifest{}, fmt.Errorf("checksum mismatch: %.16s…, it says %.16s…", got, s.SHA256)
	}
	var m Manifest
	if err := json.Unmarshal(s.Backup, &m); err != nil {
		return Manifest{}, err
	}
	if m.Version != manifestVersion {
		return Manifest{}, fmt.Errorf("version %d, this program knows %d: use a newer minitruectl", m.Version, manifestVersion)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		if !localPath(f.Path) || !ours(f.Object) || f.Size < 0 || len(f.SHA256) != 64 || seen[f.Path] {
			return Manifest{}, fmt.Errorf("the file %q in object %q cannot be meant", f.Path, f.Object)
		}
		seen[f.Path] = true
	}
	return m, nil
}

func localPath(p string) bool {
	return p == path.Clean(p) && p != "." && filepath.IsLocal(filepath.FromSlash(p)) && !strings.Contains(p, `\`)
}

// ours reports whether an object has a name that this package gives: others are never removed.
func ours(object string) bool {
	parts := strings.Split(object, "/")
	switch {
	case len(parts) == 2 && parts[0] == "files":
		return isHex(parts[1], 64)
	case len(parts) == 3 && parts[0] == "blocks":
		_, err := ulid.ParseStrict(parts[1])
		i := strings.LastIndexByte(parts[2], '-')
		return err == nil && i > 0 && isHex(parts[2][i+1:], 16)
	}
	return false
}

func isHex(s string, n int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == n
}

// Broken is a manifest that cannot be read.
type Broken struct {
	Object string
	Err    error
}

// List returns the backups in the bucket, oldest first, and the manifests that are damaged.
func (b *Bucket) List(ctx context.Context) (all []Manifest, broken []Broken, err error) {
	err = b.bucket.Iter(ctx, manifests, func(name string) error {
		id, ok := strings.CutSuffix(strings.TrimPrefix(name, manifests), ".json")
		if _, err := ulid.ParseStrict(id); err != nil || !ok {
			return nil
		}
		m, err := b.manifest(ctx, name)
		switch {
		case err == nil && m.ID.String() != id:
			err = fmt.Errorf("it is of backup %s", m.ID)
			fallthrough
		case err != nil && ctx.Err() == nil:
			broken = append(broken, Broken{name, err})
		case err == nil:
			all = append(all, m)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list backups in %s: %w", b.bucket.Name(), err)
	}
	slices.SortFunc(all, func(x, y Manifest) int { return x.ID.Compare(y.ID) })
	return all, broken, nil
}

func (b *Bucket) manifest(ctx context.Context, name string) (Manifest, error) {
	r, err := b.bucket.Get(ctx, name)
	if err != nil {
		return Manifest{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return Manifest{}, err
	}
	if len(raw) > maxManifest {
		return Manifest{}, fmt.Errorf("it has more than %d bytes", maxManifest)
	}
	return decodeManifest(bytes.TrimSpace(raw))
}

// Latest is what Find takes for the newest backup.
const Latest = "latest"

// Find returns the backup that is meant: the newest, that of an id, or the newest that is not later than a time.
func (b *Bucket) Find(ctx context.Context, at string) (Manifest, error) {
	all, broken, err := b.List(ctx)
	if err != nil {
		return Manifest{}, err
	}
	id, idErr := ulid.ParseStrict(at)
	when, timeErr := time.Parse(time.RFC3339, at)
	if at != Latest && idErr != nil && timeErr != nil {
		return Manifest{}, fmt.Errorf("backup %q: want %q, the id of a backup, or a time such as 2026-01-02T15:04:05Z", at, Latest)
	}
	for _, m := range slices.Backward(all) {
		if at == Latest || idErr == nil && m.ID == id || timeErr == nil && idErr != nil && !m.Created.After(when) {
			return m, nil
		}
	}
	for _, x := range broken {
		if idErr == nil && strings.Contains(x.Object, at) {
			return Manifest{}, fmt.Errorf("backup %s is damaged: %w", at, x.Err)
		}
	}
	return Manifest{}, fmt.Errorf("there is no backup %s among the %d in %s: see minitruectl backup list", at, len(all), b.bucket.Name())
}
