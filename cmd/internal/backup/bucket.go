package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-kit/log"
	"github.com/thanos-io/objstore"
	"github.com/thanos-io/objstore/providers/azure"
	"github.com/thanos-io/objstore/providers/filesystem"
	"github.com/thanos-io/objstore/providers/gcs"
	"github.com/thanos-io/objstore/providers/s3"
	"gopkg.in/yaml.v2"
)

const component = "minitruectl"

// Open opens the bucket that a user means: a folder, or what an objstore configuration file says, in which case
// place is a prefix in it and may be "".
func Open(place, config string) (objstore.Bucket, error) {
	if config == "" {
		if place == "" {
			return nil, errors.New("no bucket: give a folder, or an objstore configuration by --config")
		}
		if scheme, rest, ok := strings.Cut(place, "://"); ok {
			if scheme != "file" {
				return nil, fmt.Errorf("bucket %s: name the bucket, its endpoint and its keys in a file, and give that by --config; --to and --from are then a prefix in it", place)
			}
			place = rest
		}
		return openFolder(place)
	}
	raw, err := os.ReadFile(config)
	if err != nil {
		return nil, fmt.Errorf("bucket configuration: %w", err)
	}
	b, err := configured(raw)
	if err != nil {
		return nil, fmt.Errorf("bucket configuration %s: %w", config, err)
	}
	if place != "" {
		b = objstore.NewPrefixedBucket(b, place)
	}
	return b, nil
}

// configured opens the bucket of a configuration in the form that Thanos, Cortex and Mimir have:
// {type: S3, config: {…}, prefix: …}.
func configured(raw []byte) (b objstore.Bucket, err error) {
	var c struct {
		Type   string `yaml:"type"`
		Config any    `yaml:"config"`
		Prefix string `yaml:"prefix"`
	}
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return nil, err
	}
	inner, err := yaml.Marshal(c.Config)
	if err != nil {
		return nil, err
	}
	switch strings.ToUpper(c.Type) {
	case "S3":
		b, err = s3.NewBucket(log.NewNopLogger(), inner, component, nil)
	case "GCS":
		b, err = gcs.NewBucket(context.Background(), log.NewNopLogger(), inner, component, nil)
	case "AZURE":
		b, err = azure.NewBucket(log.NewNopLogger(), inner, component, nil)
	case "FILESYSTEM":
		var f filesystem.Config
		if err := yaml.UnmarshalStrict(inner, &f); err != nil {
			return nil, err
		}
		b, err = openFolder(f.Directory)
	default:
		return nil, fmt.Errorf("type %q: it is one of S3, GCS, AZURE and FILESYSTEM", c.Type)
	}
	if err != nil {
		return nil, err
	}
	if c.Prefix != "" {
		b = objstore.NewPrefixedBucket(b, c.Prefix)
	}
	return b, nil
}

func openFolder(dir string) (objstore.Bucket, error) {
	if dir == "" {
		return nil, errors.New("the bucket's folder has no name")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := filesystem.NewBucket(abs)
	if err != nil {
		return nil, err
	}
	return &folder{Bucket: b, root: abs}, nil
}
