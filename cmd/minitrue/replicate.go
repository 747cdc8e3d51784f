package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/minitrue/minitrue/shard/cluster"
	"github.com/minitrue/minitrue/shard/replicate"
)

// replicateFlags say to which other clusters everything is sent that this node accepts.
type replicateFlags struct {
	ReplicateTo                              []string
	ReplicateQueueSize                       string
	ReplicateUsername, ReplicatePassword     string
	ReplicateToken                           string
	ReplicateCA, ReplicateCert, ReplicateKey string

	replicateQueueSize int64
	replicateTLS       *tls.Config
}

func (f *replicateFlags) register(s *pflag.FlagSet) {
	s.StringSliceVar(&f.ReplicateTo, "replicate-to", nil, "send all that this node accepts to the remote_write of these other clusters too, https://other:8080 or with a path, separated by commas")
	s.StringVar(&f.ReplicateQueueSize, "replicate-queue-size", "1GB", "how much may wait on disk for each of them; what is accepted while there is no room stays here alone, is counted and logged")
	s.StringVar(&f.ReplicateUsername, "replicate-username", "", "name by which this node logs in there, with --replicate-password-file")
	s.StringVar(&f.ReplicatePassword, "replicate-password-file", "", "file with the password")
	s.StringVar(&f.ReplicateToken, "replicate-token-file", "", "file with a bearer token to log in with instead")
	s.StringVar(&f.ReplicateCA, "replicate-ca", "", "authority (PEM) that signed the other clusters' certificates (default: those that this machine trusts)")
	s.StringVar(&f.ReplicateCert, "replicate-cert", "", "certificate (PEM) that this node shows there, with --replicate-key")
	s.StringVar(&f.ReplicateKey, "replicate-key", "", "its key (PEM)")
}

const minQueue = 16 << 20 // a single write may have some MiB

func (f *flags) settleReplicate() error {
	r := &f.replicateFlags
	steps := []struct {
		flag  string
		check func() error
	}{
		{"replicate-to", func() error {
			for i, s := range r.ReplicateTo {
				u, err := replicate.ParseURL(s)
				if err != nil {
					return fmt.Errorf("%w: see --replicate-username and --replicate-token-file", err)
				}
				r.ReplicateTo[i] = u
			}
			return check(len(r.ReplicateTo) == 0 || f.ingests(), "a node with --mode=query accepts nothing that it could send")
		}},
		{"replicate-queue-size", func() (err error) {
			if r.replicateQueueSize, err = size(r.ReplicateQueueSize); err != nil {
				return err
			}
			return check(r.replicateQueueSize >= minQueue, "%s is less than 16MB", r.ReplicateQueueSize)
		}},
		{"replicate-username", func() error {
			return check((r.ReplicateUsername == "") == (r.ReplicatePassword == ""), "a name and a file with its password go together")
		}},
		{"replicate-token-file", func() error {
			if err := check(r.ReplicateToken == "" || r.ReplicateUsername == "", "a token takes the place of name and password"); err != nil {
				return err
			}
			return readable(r.ReplicateToken)
		}},
		{"replicate-password-file", func() error { return readable(r.ReplicatePassword) }},
		{"replicate-ca", r.readTLS},
	}
	for _, step := range steps {
		if err := step.check(); err != nil {
			return fmt.Errorf("--%s: %w", step.flag, err)
		}
	}
	return nil
}

// readable says at the start what would else be said by a request.
func readable(path string) error {
	if path == "" {
		return nil
	}
	_, err := os.ReadFile(path)
	return err
}

func (f *replicateFlags) readTLS() error {
	f.replicateTLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if f.ReplicateCA != "" {
		pem, err := os.ReadFile(f.ReplicateCA)
		if err != nil {
			return err
		}
		f.replicateTLS.RootCAs = x509.NewCertPool()
		if !f.replicateTLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s has no certificate in PEM form", f.ReplicateCA)
		}
	}
	if (f.ReplicateCert == "") != (f.ReplicateKey == "") {
		return errors.New("a certificate needs both --replicate-cert and --replicate-key")
	}
	if f.ReplicateCert != "" {
		cert, err := tls.LoadX509KeyPair(f.ReplicateCert, f.ReplicateKey)
		if err != nil {
			return err
		}
		f.replicateTLS.Certificates = []tls.Certificate{cert}
	}
	return nil
}

// newReplicator puts the ways to other clusters before a writer.
func newReplicator(f *flags, w *cluster.Writer, log *slog.Logger, reg prometheus.Registerer) (*replicate.Replicator, error) {
	return replicate.New(filepath.Join(f.DataDir, "replicate"), w, replicate.Options{
		Targets: f.ReplicateTo, Node: f.NodeID, Encode: cluster.Encode, MaxBytes: f.replicateQueueSize, Interval: f.walInterval,
		Access: replicate.Access{
			TLS: f.replicateTLS, Username: f.ReplicateUsername, PasswordFile: f.ReplicatePassword, TokenFile: f.ReplicateToken,
		},
		Logger: log, Registerer: reg,
	})
}
