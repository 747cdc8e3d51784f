package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strconv"

	"github.com/spf13/pflag"
)

// clusterFlags say how this node is part of a cluster.
type clusterFlags struct {
	Seeds                     []string
	PeerPort, Replication     int
	Consistency               string
	Zone                      string
	Weight                    float64
	Advertise, KeyFile        string
	PeerCert, PeerKey, PeerCA string
	HintSize, Replaces        string

	joinable bool   // others can find this node: it has a name, a port or seeds
	key      []byte // nil: none
	tls      *tls.Config
	hintSize int64
}

func (f *clusterFlags) register(s *pflag.FlagSet) {
	s.StringSliceVar(&f.Seeds, "seeds", nil, "some nodes of the cluster to join, host:port of their gossip, separated by commas")
	s.IntVar(&f.PeerPort, "peer-port", 0, "port on which nodes send each other data (default: that of gossip + 1000)")
	s.StringVar(&f.Advertise, "advertise", "", "address at which the other nodes find this one (default: that of --listen, or where it is 0.0.0.0 the one from which this machine reaches others)")
	s.IntVar(&f.Replication, "replication-factor", 3, "how many nodes keep each series, where there are so many; the first node of a cluster decides, and minitruectl ring set changes it")
	s.StringVar(&f.Consistency, "write-consistency", "quorum", "how many of them must have stored a write before it is acknowledged: one, quorum or all; decided likewise")
	s.StringVar(&f.Zone, "zone", "", "room, rack or building of this node: copies go to different ones")
	s.Float64Var(&f.Weight, "weight", 1, "this node's part of the data, relative to the others'")
	s.StringVar(&f.KeyFile, "cluster-key-file", "", "file with the secret that all nodes of the cluster share, 32 bytes or more; minitruectl ring key makes one")
	s.StringVar(&f.PeerCert, "peer-cert", "", "this node's certificate (PEM) for mutual TLS between nodes; with --peer-key and --peer-ca")
	s.StringVar(&f.PeerKey, "peer-key", "", "its key (PEM)")
	s.StringVar(&f.PeerCA, "peer-ca", "", "authority (PEM) that signed the certificates of all nodes")
	s.StringVar(&f.Replaces, "replaces", "", "name or UUID of a node that is down for good, whose place this new one takes")
	s.StringVar(&f.HintSize, "hint-size", "1GB", "how much may be kept for nodes that are down, until they are back")
}

// settleCluster works out what follows from the flags of the cluster. It comes after settlePorts.
func (f *flags) settleCluster(s *pflag.FlagSet) error {
	c := &f.clusterFlags
	c.joinable = s.Changed("seeds") || s.Changed("node-id") || s.Changed("tcp-port")
	if c.PeerPort == 0 && f.TCPPort > 0 {
		c.PeerPort = f.TCPPort + 1000
	}
	steps := []struct {
		flag  string
		check func() error
	}{
		{"advertise", f.settleAdvertise},
		{"seeds", c.checkSeeds},
		{"peer-port", func() error { return port(c.PeerPort) }},
		{"replication-factor", func() error {
			return check(1 <= c.Replication && c.Replication <= 16, "%d is not between 1 and 16", c.Replication)
		}},
		{"write-consistency", func() error { return oneOf(c.Consistency, "one", "quorum", "all") }},
		{"weight", func() error {
			return check(c.Weight > 0 && c.Weight <= 100 && !math.IsNaN(c.Weight), "%v is not more than 0 and at most 100", c.Weight)
		}},
		{"cluster-key-file", c.readKey},
		{"peer-cert", c.readTLS},
		{"hint-size", func() (err error) { c.hintSize, err = size(c.HintSize); return err }},
		{"seeds", f.checkOpen},
	}
	for _, step := range steps {
		if err := step.check(); err != nil {
			return fmt.Errorf("--%s: %w", step.flag, err)
		}
	}
	return nil
}

// settleAdvertise finds an address for the other nodes when none is given: that of --listen, or, where this means all of the machine's, the
// one from which it reaches others.
func (f *flags) settleAdvertise() error {
	c := &f.clusterFlags
	if c.Advertise != "" {
		return nil
	}
	c.Advertise = f.Listen
	if ip := net.ParseIP(f.Listen); !c.joinable || f.Listen != "" && (ip == nil || !ip.IsUnspecified()) {
		return nil
	}
	ip, err := ownAddress()
	if err != nil {
		return fmt.Errorf("find this node's own: %w; give the one at which other nodes find it", err)
	}
	c.Advertise = ip.String()
	return nil
}

// ownAddress returns the address that the default route begins at, else that of any interface but the loopback.
func ownAddress() (net.IP, error) {
	for _, to := range []string{"8.8.8.8:9", "[2001:4860:4860::8888]:9"} { // for UDP this looks up the route and sends nothing
		if conn, err := net.Dial("udp", to); err == nil {
			ip := conn.LocalAddr().(*net.UDPAddr).IP
			_ = conn.Close()
			return ip, nil
		}
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP, nil
		}
	}
	return nil, errors.New("no network interface has an address")
}

func (f *clusterFlags) checkSeeds() error {
	for _, seed := range f.Seeds {
		if host, p, err := net.SplitHostPort(seed); err != nil || host == "" || p == "" {
			return fmt.Errorf("%q is not host:port, such as localhost:9000", seed)
		}
	}
	return nil
}

// readKey reads the shared secret.
func (f *clusterFlags) readKey() error {
	if f.KeyFile == "" {
		return nil
	}
	b, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return err
	}
	b = bytes.TrimSpace(b)
	f.key = b
	return check(len(b) >= 32, "%s has %d bytes, want at least 32: make one with minitruectl ring key", f.KeyFile, len(b))
}

// secret is a key of 32 bytes for one purpose, nil when nodes share none.
func (f *clusterFlags) secret(purpose string) []byte {
	if f.key == nil {
		return nil
	}
	sum := sha256.Sum256(append([]byte("minitrue "+purpose+"\x00"), f.key...))
	return sum[:]
}

// readTLS reads what mutual TLS needs: nodes know each other by the authority that signed them.
func (f *clusterFlags) readTLS() error {
	if f.PeerCert == "" && f.PeerKey == "" && f.PeerCA == "" {
		return nil
	}
	if f.PeerCert == "" || f.PeerKey == "" || f.PeerCA == "" {
		return errors.New("mutual TLS needs all of --peer-cert, --peer-key and --peer-ca")
	}
	cert, err := tls.LoadX509KeyPair(f.PeerCert, f.PeerKey)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(f.PeerCA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s has no certificate in PEM form", f.PeerCA)
	}
	f.tls = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	return nil
}

// checkOpen refuses to open the ports of the cluster to a network without anything that keeps strangers out: gossip always
// needs the key. A node that was not asked to join another then stays alone.
func (f *flags) checkOpen() error {
	if f.key != nil || loopback(f.Listen) {
		return nil
	}
	f.joinable = false
	return check(len(f.Seeds) == 0, "%s is open to a network: give all nodes the same --cluster-key-file (minitruectl ring key makes one)", f.Listen)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (f *flags) gossipAddr() string { return net.JoinHostPort(f.Listen, strconv.Itoa(f.TCPPort)) }
func (f *flags) peerAddr() string   { return net.JoinHostPort(f.Listen, strconv.Itoa(f.PeerPort)) }
