package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/chunk/store"
	"github.com/minitrue/minitrue/cmd/internal/backup"
	"github.com/minitrue/minitrue/cmd/internal/bench"
	"github.com/minitrue/minitrue/cmd/internal/progress"
	"github.com/minitrue/minitrue/cmd/internal/verify"
)

const bucketHelp = `

BUCKET is a folder. With --config FILE it is the bucket that the file describes, in the form that Thanos has, and BUCKET, if there
is one, a prefix in it:

  type: S3            # or GCS, AZURE, FILESYSTEM
  config: {bucket: backups, endpoint: s3.eu-central-1.amazonaws.com, access_key: …, secret_key: …}`

// bucketFlags say which bucket is meant.
type bucketFlags struct {
	place, config string
	o             backup.Options
}

func (f *bucketFlags) add(c *cobra.Command, name string) {
	c.Flags().StringVar(&f.place, name, "", "BUCKET: a folder, or a prefix in the bucket of --config")
	c.Flags().StringVar(&f.config, "config", "", "objstore configuration of the bucket (YAML)")
	c.Flags().IntVar(&f.o.Workers, "workers", 4, "files at a time")
}

func (f *bucketFlags) open(c *cobra.Command, what string) (*backup.Bucket, error) {
	b, err := backup.Open(f.place, f.config)
	if err != nil {
		return nil, err
	}
	f.o.Meter = progress.Bytes(c.ErrOrStderr(), what)
	return backup.New(b, f.o), nil
}

func newBackup() *cobra.Command {
	var (
		to              bucketFlags
		dir, url, label string
	)
	c := &cobra.Command{
		Use:   "backup",
		Short: "Copy a data folder into a bucket, and look after the copies there",
		Long: `Copy a data folder into a bucket: files that the bucket has are not uploaded again.

Of a running node give --url and --data-dir: the node makes a snapshot in its data folder, from which the backup is
made. Without --url the node must be stopped: what is in its log is written to blocks first. After an interruption the same
command goes on.` + bucketHelp,
		Example: `  minitruectl backup --url http://127.0.0.1:8080 --data-dir ./data --to /mnt/backups
  minitruectl backup --data-dir ./data --to node-1 --config s3.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := to.open(c, "backup")
			if err != nil {
				return err
			}
			defer tellAside(c.ErrOrStderr(), "backup", dir)
			if url == "" {
				return backupStopped(c, b, to.o.Meter, dir, label)
			}
			return backupRunning(c, b, to.o.Meter, url, dir)
		},
	}
	to.add(c, "to")
	c.Flags().StringVar(&dir, "data-dir", "./data", "the data folder")
	c.Flags().StringVar(&url, "url", "", "of the node that has the data folder open; empty when it is stopped")
	c.Flags().StringVar(&label, "device-label", "device_id", "that of the node, by which it places series, of a stopped node")
	c.AddCommand(newBackupList(), newBackupVerify(), newBackupPrune())
	return c
}

// backupStopped empties the log into blocks and backs up the folder, which no node can open meanwhile.
func backupStopped(c *cobra.Command, b *backup.Bucket, m *progress.Meter, dir, label string) error {
	if _, err := os.Stat(filepath.Join(dir, "blocks")); err != nil {
		return fmt.Errorf("backup: %s is not a data folder: %w", dir, err)
	}
	if err := flush(c.Context(), dir, label); err != nil {
		return fmt.Errorf("backup: %w; of a node that runs, give its --url too", err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("backup: the data folder %s came into use: give the --url of the node: %w", dir, err)
	}
	return errors.Join(upload(c, b, m, dir, dir), lock.Release())
}

func flush(ctx context.Context, dir, label string) error {
	s, err := openStopped(dir, store.Options{DeviceLabel: label})
	if err != nil {
		return err
	}
	return errors.Join(s.Flush(ctx), s.Close())
}

// backupSnapshot is how the names of snapshots begin that are a backup's own.
const backupSnapshot = "backup-"

// backupRunning has the node make a snapshot, and removes it afterwards, and those that backups left which were killed.
func backupRunning(c *cobra.Command, b *backup.Bucket, m *progress.Meter, url, dir string) (err error) {
	if _, err := os.Stat(filepath.Join(dir, "blocks")); err != nil {
		return fmt.Errorf("backup: %s is not a data folder: give the --data-dir of the node at %s: %w", dir, url, err)
	}
	snapshots := filepath.Join(dir, store.SnapshotsDir)
	if err := os.MkdirAll(snapshots, 0o755); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	lock, _, err := fileutil.Flock(filepath.Join(dir, verify.BackupLock))
	if err != nil {
		return fmt.Errorf("backup: another backup of %s is under way: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	left, err := filepath.Glob(filepath.Join(snapshots, backupSnapshot+"*"))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("backup: remove what an earlier one left: %w", err)
		}
	}
	name, err := snapshot(c.Context(), url)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	from := filepath.Join(snapshots, backupSnapshot+name)
	if err := os.Rename(filepath.Join(snapshots, name), from); err != nil {
		return fmt.Errorf("backup: the node at %s made the snapshot %s, which is not in %s: give the --data-dir of that node: %w", url, name, dir, err)
	}
	return errors.Join(upload(c, b, m, from, dir), os.RemoveAll(from))
}

// snapshot asks a node for a snapshot and returns its name.
func snapshot(ctx context.Context, url string) (string, error) {
	target, err := bench.Endpoint(url, "/api/v1/admin/tsdb/snapshot")
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for a snapshot: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("ask for a snapshot: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %.500s: stop the node and leave --url out if it cannot make snapshots", target, resp.Status, strings.TrimSpace(string(body)))
	}
	var answer struct{ Data struct{ Name string } }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("%s: %w", target, err)
	}
	if name := answer.Data.Name; name != "" && name == filepath.Base(name) && filepath.IsLocal(name) {
		return name, nil
	}
	return "", fmt.Errorf("%s answers that the snapshot is called %q", target, answer.Data.Name)
}

func upload(c *cobra.Command, b *backup.Bucket, m *progress.Meter, from, dir string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	var made backup.Manifest
	var cost backup.Created
	err = m.While(func() (err error) {
		made, cost, err = b.Create(c.Context(), from, host+":"+abs)
		return err
	})
	if err != nil {
		return err
	}
	t := newTable(c.OutOrStdout())
	t.row("backup", "%s", made.ID)
	t.row("holds", "%d files, %.1f MiB, %d blocks, %d samples", len(made.Files), mebi(made.Bytes()), made.Blocks, made.Samples)
	t.row("uploaded", "%d files, %.1f MiB", cost.Uploaded, mebi(cost.UploadedBytes))
	return t.flush()
}

func newRestore() *cobra.Command {
	var (
		from    bucketFlags
		dir, at string
	)
	c := &cobra.Command{
		Use:   "restore",
		Short: "Make a data folder of a backup",
		Long: `Make a data folder of a backup. The folder must not exist or be empty. Everything is verified, objects and then blocks, before the
folder gets its name; until then it is called as --data-dir says with .restoring behind it. After an interruption the same command goes on.` + bucketHelp,
		Example: `  minitruectl restore --from /mnt/backups --data-dir ./data
  minitruectl restore --from node-1 --config s3.yaml --data-dir ./data --at 2026-01-02T00:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := from.open(c, "restore")
			if err != nil {
				return err
			}
			var m backup.Manifest
			err = from.o.Meter.While(func() (err error) {
				if m, err = b.Find(c.Context(), at); err != nil {
					return err
				}
				return b.Restore(c.Context(), m, dir)
			})
			if err != nil {
				return err
			}
			t := newTable(c.OutOrStdout())
			t.row("backup", "%s of %s", m.ID, m.Created.Format(time.RFC3339))
			t.row("restored", "%s: %d files, %.1f MiB, %d blocks, %d samples, all of them verified", dir, len(m.Files), mebi(m.Bytes()), m.Blocks, m.Samples)
			return t.flush()
		},
	}
	from.add(c, "from")
	c.Flags().StringVar(&dir, "data-dir", "./data", "the folder to make")
	c.Flags().StringVar(&at, "at", backup.Latest, "latest, the id of a backup, or a time (RFC 3339): the newest backup that is not later")
	return c
}
