package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minitrue/minitrue/cmd/internal/proc"
)

// authority signs certificates of nodes.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// sign signs a certificate, with the authority's key if it has one, and writes it and its key to files.
func (a *authority) sign(t *testing.T, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if by == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// node signs a certificate of a node on this machine.
func (a *authority) node(t *testing.T, name string) {
	t.Helper()
	a.sign(t, name, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// flags are those of a node with a certificate of this authority, which believes the certificates of another one.
func (a *authority) flags(t *testing.T, believes *authority, key string) []string {
	t.Helper()
	a.node(t, "node")
	return []string{"--cluster-key-file=" + key, "--peer-cert=" + a.file("node.crt"), "--peer-key=" + a.file("node.key"), "--peer-ca=" + believes.file("ca.crt")}
}

// client is how a stranger calls that has a certificate of this authority; nil has none.
func (a *authority) client(t *testing.T, believes *authority) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(believes.cert)
	if a != nil {
		a.node(t, "client")
		cert, err := tls.LoadX509KeyPair(a.file("client.crt"), a.file("client.key"))
		if err != nil {
			t.Fatal(err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil } // whatever is asked for
	}
	return c
}

// With mutual TLS a node that has the cluster key and a certificate of another authority, or none, does not get into a cluster and says
// why; nobody gets past the peer port without a certificate of the cluster's authority.
func TestClusterRefusesOtherCertificates(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	secret := bytes.Repeat([]byte("k"), 32)
	key := keyFile(t, secret)
	nodes, seeds := startCluster(t, 2, ours.flags(t, ours, key)...)
	check := unchanged(t, nodes)
	for name, row := range map[string]struct {
		flags     []string
		why, says string
	}{
		"a certificate of others":            {others.flags(t, ours, key), "tls: certificate required", "client didn't provide a certificate"},
		"a certificate of others, and trust": {others.flags(t, others, key), "certificate signed by unknown authority", "bad certificate"},
		"no certificate":                     {[]string{"--cluster-key-file=" + key}, "answered 400", "client sent an HTTP request to an HTTPS server"},
	} {
		t.Log(name)
		s, _ := newMember(t, "stranger", seeds, row.flags...)
		s.launch(t)
		untilSays(t, s, "this node cannot join yet")
		untilSays(t, s, row.why)
		refusedBy(t, nodes[0], "minitrue_peer_refused_requests_total", "tls", row.says)
		if resp, err := http.Get(s.url + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Error("the stranger is ready")
			}
		}
		s.Kill(t)
	}
	check()
	for name, row := range map[string]struct {
		c  *tls.Config
		ok bool
	}{
		"no certificate":           {(*authority)(nil).client(t, ours), false},
		"a certificate of others":  {others.client(t, ours), false},
		"our authority distrusted": {ours.client(t, others), false},
		"a certificate of ours":    {ours.client(t, ours), true},
	} {
		before, err := nodes[0].metric("minitrue_peer_refused_requests_total", "reason=tls")
		if err != nil {
			t.Error(err)
		}
		code, err := nodes[0].call(t, secret, row.c, nil)
		if row.ok != (err == nil && code != http.StatusUnauthorized) {
			t.Errorf("%s: code %d, %v", name, code, err)
		}
		if !row.ok {
			proc.Until(t, name+" is counted", func() error {
				after, err := nodes[0].metric("minitrue_peer_refused_requests_total", "reason=tls")
				if err == nil && after <= before {
					err = os.ErrNotExist
				}
				return err
			})
		}
	}
	if code, err := nodes[0].call(t, bytes.Repeat([]byte("o"), 32), ours.client(t, ours), nil); err != nil || code != http.StatusUnauthorized {
		t.Errorf("a certificate of ours and another key: code %d, %v", code, err)
	}
	friend, _ := newMember(t, "n3", seeds, ours.flags(t, ours, key)...)
	friend.start(t)
	untilActive(t, append(nodes, friend), 3)
	if strings.Contains(friend.Output(), "cannot join") {
		t.Errorf("it could not join at once: %s", friend.Output())
	}
}
