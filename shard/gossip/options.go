package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/minitrue/minitrue/chunk/disk"
	"github.com/minitrue/minitrue/shard"
)

// Options say who a node is and how it finds the others.
type Options struct {
	Dir  string // data folder; it exists
	Name string // for people; "" means the start of the UUID

	Bind      string   // host:port on which to listen for gossip, TCP and UDP; "" means that this node has no others, now or ever
	Advertise string   // host:port at which the others find it; "" means that of Bind, and so does a port of 0
	Peer      string   // host:port at which they find its peer port
	HTTP      string   // host:port at which people find it
	Seeds     []string // host:port of some nodes of the cluster to join; none means that this is the first one
	Label     string   // only nodes with the same label talk to each other; "" means minitrue
	Secret    []byte   // AES key that all nodes share, 16, 24 or 32 bytes; nil means no encryption

	// What a node joins with. Later it is changed by leaving and joining again.
	Zone     string
	Weight   float64 // 0 means 1
	Observer bool    // it gets no data
	Replaces string  // ID or name of a node that is down for good, whose place it takes

	// What the first node of a cluster decides.
	Replication int    // copies; 0 means 3
	Consistency string // "" means quorum

	// Reach asks a member for a sign of life by the way that data takes. A node joins when one has given it: who cannot send and get data would
	// hold a place in the ring, and nothing else. nil: nobody is asked.
	Reach func(ctx context.Context, m shard.Member) error

	Probe     time.Duration // how often a member is asked whether it is alive; one is down after about four times that. 0 means 1s
	Interval  time.Duration // between two comparisons of records; 0 means 1s
	Timeout   time.Duration // for one connection; 0 means 5s
	RetryMost time.Duration // longest pause between attempts to reach a lost peer; 0 means 10s

	Transport  memberlist.Transport // nil means the network
	FS         disk.FS              // nil means the disk
	Logger     *slog.Logger         // nil discards
	Registerer prometheus.Registerer
	Now        func() time.Time // nil means time.Now
}

func (o Options) withDefaults() Options {
	o.Label = cmp.Or(o.Label, "minitrue")
	o.Weight = cmp.Or(o.Weight, 1)
	o.Replication = cmp.Or(o.Replication, 3)
	o.Consistency = cmp.Or(o.Consistency, "quorum")
	o.Probe = cmp.Or(o.Probe, time.Second)
	o.Interval = cmp.Or(o.Interval, time.Second)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.RetryMost = cmp.Or(o.RetryMost, 10*time.Second)
	if o.FS == nil {
		o.FS = disk.OS
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// lonely says that there is no way to and from other nodes.
func (o Options) lonely() bool { return o.Bind == "" && o.Transport == nil }

func (o Options) check() error {
	switch {
	case o.lonely() && len(o.Seeds) > 0:
		return errors.New("a node that is to join others needs an address for gossip")
	case !(o.Weight > 0 && o.Weight <= 100) || math.IsNaN(o.Weight):
		return fmt.Errorf("weight %v is not more than 0 and at most 100", o.Weight)
	case len(o.Secret) > 0 && !slices.Contains([]int{16, 24, 32}, len(o.Secret)):
		return fmt.Errorf("the secret has %d bytes, want 16, 24 or 32", len(o.Secret))
	case len(o.Name) > maxText || len(o.Zone) > maxText:
		return fmt.Errorf("names and zones have at most %d bytes", maxText)
	}
	if err := checkSetting(settingReplication, strconv.Itoa(o.Replication)); err != nil {
		return err
	}
	if err := checkSetting(settingConsistency, o.Consistency); err != nil {
		return err
	}
	for _, seed := range o.Seeds {
		if _, _, err := splitHostPort(seed); err != nil {
			return fmt.Errorf("seed %q: %w", seed, err)
		}
	}
	return nil
}

// maxText is how long names, zones and addresses may be.
const maxText = 253

// splitHostPort splits an address whose port is a number.
func splitHostPort(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, int(n), nil
}

// config is what memberlist is told.
func (c *Cluster) config() (*memberlist.Config, error) {
	m := memberlist.DefaultLANConfig()
	m.Name = c.run.member(c.identity.ID)
	m.Label, m.SecretKey, m.Transport = c.o.Label, c.o.Secret, c.o.Transport
	m.ProbeInterval, m.ProbeTimeout = c.o.Probe, c.o.Probe/2
	m.GossipInterval, m.PushPullInterval = c.o.Probe/5, 15*c.o.Probe
	m.SuspicionMaxTimeoutMult = 3
	m.TCPTimeout, m.EnableCompression = c.o.Timeout, false // it takes longer than what it saves
	m.Delegate, m.Events, m.Merge, m.Alive = c, c, c, c
	m.Logger = bridge(c.log, c.metrics)
	if c.o.Transport != nil {
		return m, nil
	}
	host, port, err := splitHostPort(c.o.Bind)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", c.o.Bind, err)
	}
	ip, err := resolve(host)
	if err != nil {
		return nil, err
	}
	m.BindAddr, m.BindPort, m.AdvertisePort = ip.String(), port, port
	if c.o.Advertise == "" {
		return m, nil
	}
	if host, port, err = splitHostPort(c.o.Advertise); err != nil {
		return nil, fmt.Errorf("address %q: %w", c.o.Advertise, err)
	}
	if ip, err = resolve(host); err != nil {
		return nil, err
	}
	if !ip.IsUnspecified() { // else memberlist looks for a private address
		m.AdvertiseAddr = ip.String()
	}
	m.AdvertisePort = cmp.Or(port, m.AdvertisePort)
	return m, nil
}

// resolve returns an address of a host, one of IPv4 if it has such.
func resolve(host string) (net.IP, error) {
	if host == "" {
		return net.IPv4zero, nil
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(ips, func(a, b net.IP) int { return cmp.Compare(len(b.To4()), len(a.To4())) })
	return ips[0], nil
}

// short is an ID as people read it.
func short(id string) string {
	s, _, _ := strings.Cut(id, "-")
	return s
}
