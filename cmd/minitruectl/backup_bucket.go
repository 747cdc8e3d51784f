package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/backup"
)

func newBackupList() *cobra.Command {
	var (
		from   bucketFlags
		asJSON bool
	)
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the backups in a bucket, oldest first",
		Long:    "List the backups in a bucket, oldest first." + bucketHelp,
		Example: "  minitruectl backup list --from /mnt/backups",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := from.open(c, "list")
			if err != nil {
				return err
			}
			all, broken, err := b.List(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), all)
			} else {
				err = printBackups(c.OutOrStdout(), all)
			}
			for _, x := range broken {
				err = errors.Join(err, fmt.Errorf("%s is damaged: %w", x.Object, x.Err))
			}
			return err
		},
	}
	from.add(c, "from")
	c.Flags().BoolVar(&asJSON, "json", false, "print the manifests as JSON")
	return c
}

func printBackups(w io.Writer, all []backup.Manifest) error {
	t := newTable(w)
	for _, m := range all {
		times := "no samples"
		if m.Blocks > 0 {
			times = stamp(m.MinTime) + " to " + stamp(m.MaxTime)
		}
		t.row(m.ID.String(), "%s, %d blocks, %d samples, %.1f MiB, %s, of %s",
			m.Created.Format(time.RFC3339), m.Blocks, m.Samples, mebi(m.Bytes()), times, m.Source)
	}
	return t.flush()
}

func newBackupVerify() *cobra.Command {
	var (
		from   bucketFlags
		at     string
		remove bool
	)
	c := &cobra.Command{
		Use:   "verify",
		Short: "Read every object of the backups in a bucket and compare it with its checksum",
		Long: `Read every object of the backups in a bucket and compare it with its checksum. An object that several backups need is read
once. What is damaged is listed with the backups that need it, and is exit code 1. With --remove-damaged these objects are removed:
the next backup of a folder that still has the files uploads them again, which mends the older backups too.` + bucketHelp,
		Example: "  minitruectl backup verify --from /mnt/backups --at latest",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := from.open(c, "verify")
			if err != nil {
				return err
			}
			v := verification{b: b, at: at, remove: remove}
			if err := from.o.Meter.While(func() error { return v.run(c.Context()) }); err != nil {
				return err
			}
			return v.print(c.OutOrStdout())
		},
	}
	from.add(c, "from")
	c.Flags().StringVar(&at, "at", "all", "all, latest, the id of a backup, or a time (RFC 3339)")
	c.Flags().BoolVar(&remove, "remove-damaged", false, "remove the damaged objects, so that the next backup uploads them again")
	return c
}

// verification is what backup verify does.
type verification struct {
	b      *backup.Bucket
	at     string
	remove bool

	all    []backup.Manifest
	broken []backup.Broken
	damage []backup.Damage
}

func (v *verification) run(ctx context.Context) (err error) {
	if v.at == "all" {
		v.all, v.broken, err = v.b.List(ctx)
	} else {
		v.all = make([]backup.Manifest, 1)
		v.all[0], err = v.b.Find(ctx, v.at)
	}
	if err != nil {
		return err
	}
	if v.damage, err = v.b.Verify(ctx, v.all); err == nil && v.remove {
		err = v.b.Remove(ctx, v.damage)
	}
	return err
}

func (v *verification) print(w io.Writer) error {
	for _, d := range v.damage {
		fmt.Fprintln(w, d)
	}
	for _, x := range v.broken {
		fmt.Fprintf(w, "manifest %s is damaged: %v\n", x.Object, x.Err)
	}
	fmt.Fprintf(w, "%d backups, %d objects read\n", len(v.all), objects(v.all))
	switch n := len(v.damage) + len(v.broken); {
	case n == 0:
		return nil
	case v.remove:
		return fmt.Errorf("backup verify: %d objects were damaged: make a new backup now, and verify again", n)
	default:
		return fmt.Errorf("backup verify: %d objects are damaged: remove them by --remove-damaged, and make a new backup", n)
	}
}

func objects(all []backup.Manifest) int {
	seen := map[string]bool{}
	for _, m := range all {
		for _, f := range m.Files {
			seen[f.Object] = true
		}
	}
	return len(seen)
}

func newBackupPrune() *cobra.Command {
	var (
		from bucketFlags
		keep backup.Keep
	)
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove old backups, and the objects that no other backup needs",
		Long: `Remove the backups that neither --keep nor --keep-within wants, and then the objects that no backup needs any more.
Objects that are younger than --grace stay, since a backup that is being made may need them.` + bucketHelp,
		Example: "  minitruectl backup prune --from /mnt/backups --keep 7 --keep-within 720h",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if keep.Last < 1 && keep.Within <= 0 {
				return errors.New("prune: say what to keep: --keep so many, --keep-within so long, or both")
			}
			if from.o.Grace == 0 {
				from.o.Grace = -1
			}
			b, err := from.open(c, "prune")
			if err != nil {
				return err
			}
			p, err := b.Prune(c.Context(), keep)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			for _, m := range p.Backups {
				fmt.Fprintf(w, "%s of %s\n", m.ID, m.Created.Format(time.RFC3339))
			}
			did := "removed"
			if keep.DryRun {
				did = "would remove"
			}
			fmt.Fprintf(w, "%s %d backups and %d objects, kept %d backups and %d objects that are too young\n", did, len(p.Backups), p.Objects, p.Kept, p.Young)
			return nil
		},
	}
	from.add(c, "from")
	c.Flags().IntVar(&keep.Last, "keep", 0, "how many of the newest backups to keep")
	c.Flags().DurationVar(&keep.Within, "keep-within", 0, "keep all backups that are younger")
	c.Flags().DurationVar(&from.o.Grace, "grace", 24*time.Hour, "how old an object must be to be removed")
	c.Flags().BoolVar(&keep.DryRun, "dry-run", false, "say what would be removed, and remove nothing")
	c.Flags().BoolVar(&keep.Damaged, "remove-damaged", false, "remove manifests that cannot be read, and what only they need")
	return c
}
