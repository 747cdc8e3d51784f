package backup

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeS3 is as much of S3 as backups use: objects of one bucket, in memory.
type fakeS3 struct {
	mu      sync.Mutex // guards objects
	objects map[string][]byte
	puts    int
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/bucket"), "/")
	b, ok := f.objects[key]
	switch {
	case r.Method == http.MethodGet && key == "" && r.URL.Query().Has("location"):
		fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">us-east-1</LocationConstraint>`)
	case r.Method == http.MethodGet && key == "":
		f.list(w, r)
	case r.Method == http.MethodPut:
		body, err := payload(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.objects[key] = body
		f.puts++
		w.Header().Set("ETag", `"0"`)
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		if r.Method != http.MethodHead {
			fmt.Fprint(w, `<Error><Code>NoSuchKey</Code></Error>`)
		}
	default:
		w.Header().Set("ETag", `"0"`)
		http.ServeContent(w, r, "", time.Now(), bytes.NewReader(b))
	}
}

func (f *fakeS3) list(w io.Writer, r *http.Request) {
	type entry struct {
		Key          string
		Size         int
		LastModified string
	}
	type dir struct{ Prefix string }
	var out struct {
		XMLName        xml.Name `xml:"ListBucketResult"`
		Contents       []entry
		CommonPrefixes []dir
	}
	prefix, delimiter := r.URL.Query().Get("prefix"), r.URL.Query().Get("delimiter")
	for key, b := range f.objects {
		rest, ok := strings.CutPrefix(key, prefix)
		if i := strings.Index(rest, delimiter); !ok {
			continue
		} else if delimiter != "" && i >= 0 {
			if d := (dir{prefix + rest[:i+1]}); !slices.Contains(out.CommonPrefixes, d) {
				out.CommonPrefixes = append(out.CommonPrefixes, d)
			}
			continue
		}
		out.Contents = append(out.Contents, entry{key, len(b), time.Now().UTC().Format(time.RFC3339)})
	}
	slices.SortFunc(out.Contents, func(a, b entry) int { return strings.Compare(a.Key, b.Key) })
	_ = xml.NewEncoder(w).Encode(out)
}

// payload reads a body, which is signed in chunks when the connection is not encrypted.
func payload(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	in := bufio.NewReader(r.Body)
	var all []byte
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil || n == 0 {
			return all, err
		}
		chunk := make([]byte, n+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		all = append(all, chunk[:n]...)
	}
}

// The same as in a folder, by the protocol of S3: incremental, verified, restored, pruned, beside what others keep there.
func TestS3(t *testing.T) {
	f := &fakeS3{objects: map[string][]byte{"others": []byte("x")}}
	s := httptest.NewServer(f)
	defer s.Close()
	config := filepath.Join(t.TempDir(), "s3.yaml")
	text := fmt.Sprintf("type: S3\nconfig: {bucket: bucket, endpoint: %q, insecure: true, access_key: a, secret_key: s, region: us-east-1, bucket_lookup_type: path}\n",
		strings.TrimPrefix(s.URL, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	remote, err := Open("node-1", config)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	b := New(remote, Options{Now: func() time.Time { return now }})
	dir := dataFolder(t)
	first, cost := create(t, b, dir)
	if cost.Uploaded != len(first.Files) || f.puts != len(first.Files)+1 {
		t.Fatalf("%+v, %d requests to put", cost, f.puts)
	}
	if _, cost := create(t, b, dir); cost.Uploaded != 0 {
		t.Errorf("the same again costs %+v", cost)
	}
	sound(t, b)
	to := filepath.Join(t.TempDir(), "data")
	if err := b.Restore(t.Context(), first, to); err != nil {
		t.Fatal(err)
	}
	same(t, tree(t, dir), to)

	hurt := "node-1/" + first.Files[0].Object
	f.objects[hurt][0] ^= 1
	if damage, err := b.Verify(t.Context(), []Manifest{first}); err != nil || len(damage) != 1 || damage[0].Object != first.Files[0].Object {
		t.Errorf("%v, %v", damage, err)
	}
	delete(f.objects, hurt)
	if damage, err := b.Verify(t.Context(), []Manifest{first}); err != nil || len(damage) != 1 || !strings.Contains(damage[0].What, "missing") {
		t.Errorf("%v, %v", damage, err)
	}
	if _, cost := create(t, b, dir); cost.Uploaded != 1 {
		t.Errorf("mending cost %+v", cost)
	}
	sound(t, b)
	now = now.Add(48 * time.Hour)
	if p, err := b.Prune(t.Context(), Keep{Within: time.Hour}); err != nil || p.Kept != 0 || p.Objects == 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if len(f.objects) != 1 {
		t.Errorf("%d objects are left", len(f.objects))
	}
}
