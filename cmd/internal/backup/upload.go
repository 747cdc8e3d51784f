package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"
)

// file puts a file into the bucket unless it is there, and into the manifest.
func (c *creation) file(ctx context.Context, f local) error {
	abs := filepath.Join(c.dir, filepath.FromSlash(f.path))
	if f.object != "" {
		if known, ok := c.known[f.object]; ok && known.Size == f.size {
			ok, err := c.b.has(ctx, f.object, f.size)
			if err != nil {
				return err
			}
			if ok {
				c.b.o.Meter.Add(f.size)
				c.add(File{f.path, f.object, f.size, known.SHA256}, 0)
				return nil
			}
		}
	}
	sums, err := hashFile(ctx, abs)
	if err != nil {
		return err
	}
	if f.xxh64 != "" && sums.xxh64 != f.xxh64 {
		return fmt.Errorf("%s is damaged: checksum mismatch: %s, want %s: see minitruectl verify", abs, sums.xxh64, f.xxh64)
	}
	if sums.size != f.size {
		return fmt.Errorf("%s changed while it was read: back up a snapshot of the node (--url), or stop it", abs)
	}
	if f.object == "" {
		f.object = "files/" + sums.sha256
	}
	whole := File{f.path, f.object, f.size, sums.sha256}
	sound, err := c.b.sound(ctx, whole)
	if err != nil {
		return err
	}
	uploaded := int64(-1)
	if !sound {
		if err := c.b.upload(ctx, abs, whole); err != nil {
			return fmt.Errorf("upload %s: %w", f.path, err)
		}
		uploaded = f.size
	}
	c.b.o.Meter.Add(f.size)
	c.add(whole, uploaded+1)
	return nil
}

// add puts a file into the manifest. uploaded is one more than its size when it had to be uploaded, and else 0.
func (c *creation) add(f File, uploaded int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.Files = append(c.m.Files, f)
	if uploaded > 0 {
		c.cost.Uploaded++
		c.cost.UploadedBytes += uploaded - 1
	}
}

// has reports whether the bucket has an object of a size.
func (b *Bucket) has(ctx context.Context, object string, size int64) (bool, error) {
	a, err := b.bucket.Attributes(ctx, object)
	switch {
	case err == nil:
		return a.Size == size, nil
	case b.bucket.IsObjNotFoundErr(err):
		return false, nil
	}
	return false, fmt.Errorf("look for object %s: %w", object, err)
}

// sound reports whether an object that perhaps no manifest lists can be used as it is. One that Prune could take for forgotten
// is uploaded anew.
func (b *Bucket) sound(ctx context.Context, f File) (bool, error) {
	a, err := b.bucket.Attributes(ctx, f.Object)
	switch {
	case err != nil && b.bucket.IsObjNotFoundErr(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for object %s: %w", f.Object, err)
	case a.Size != f.Size || b.o.Now().Sub(a.LastModified) > b.o.Grace/2:
		return false, nil
	case !b.reread:
		return true, nil
	}
	return b.check(ctx, f) == nil, ctx.Err()
}

// upload uploads a file and looks whether it arrived.
func (b *Bucket) upload(ctx context.Context, abs string, f File) error {
	r, err := os.Open(abs)
	if err != nil {
		return err
	}
	err = b.bucket.Upload(ctx, f.Object, sized{io.LimitReader(r, f.Size), f.Size})
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if b.reread {
		return b.check(ctx, f)
	}
	ok, err := b.has(ctx, f.Object, f.Size)
	if err == nil && !ok {
		err = fmt.Errorf("object %s is not as long as the file after its upload", f.Object)
	}
	return err
}

// sized tells a provider how long an object will be, so that it need not keep it in memory.
type sized struct {
	io.Reader
	size int64
}

func (s sized) ObjectSize() (int64, error) { return s.size, nil }

// check reads an object and compares it with the manifest.
func (b *Bucket) check(ctx context.Context, f File) error {
	_, err := b.copy(ctx, f, io.Discard)
	return err
}

// copy reads an object into w, and compares it with the manifest.
func (b *Bucket) copy(ctx context.Context, f File, w io.Writer) (int64, error) {
	r, err := b.bucket.Get(ctx, f.Object)
	if err != nil {
		if b.bucket.IsObjNotFoundErr(err) {
			return 0, fmt.Errorf("object %s is missing", f.Object)
		}
		return 0, fmt.Errorf("read object %s: %w", f.Object, err)
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, w), io.LimitReader(reader{ctx, r}, f.Size+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return n, fmt.Errorf("read object %s: %w", f.Object, err)
	}
	if n != f.Size {
		return n, fmt.Errorf("object %s is damaged: it has %s%d bytes, want %d", f.Object, more(n > f.Size), n, f.Size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
		return n, fmt.Errorf("object %s is damaged: SHA-256 %.16s…, want %.16s…", f.Object, got, f.SHA256)
	}
	return n, nil
}

func more(yes bool) string {
	if yes {
		return "at least "
	}
	return ""
}

// sums are the checksums of a file.
type sums struct {
	size          int64
	sha256, xxh64 string
}

func hashFile(ctx context.Context, path string) (sums, error) {
	f, err := os.Open(path)
	if err != nil {
		return sums{}, err
	}
	defer f.Close()
	s, x := sha256.New(), xxhash.New()
	n, err := io.CopyBuffer(io.MultiWriter(s, x), struct{ io.Reader }{reader{ctx, f}}, make([]byte, 256<<10))
	if err != nil {
		return sums{}, fmt.Errorf("read %s: %w", path, err)
	}
	return sums{n, digest(s), fmt.Sprintf("%016x", x.Sum64())}, nil
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
