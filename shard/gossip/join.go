package gossip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// addr is where the others reach this node, with an IP; "" before Run.
func (c *Cluster) addr() string {
	if a := c.at.Load(); a != nil {
		return *a
	}
	return ""
}

// address is the addr record of this node. A host is kept by its name, since its IP may change.
func (c *Cluster) address() address {
	a := address{Name: c.identity.Name, Gossip: c.o.Advertise, Peer: c.o.Peer, HTTP: c.o.HTTP}
	at := cmp.Or(c.addr(), c.o.Bind)
	host, port, err := splitHostPort(a.Gossip)
	switch ip := net.ParseIP(host); {
	case err != nil || host == "" || ip != nil && ip.IsUnspecified():
		a.Gossip = at
	case port == 0:
		if _, port, err = splitHostPort(at); err == nil {
			a.Gossip = net.JoinHostPort(host, strconv.Itoa(port))
		}
	}
	return a
}

// rejoin asks every seed and every node that was ever known for its members, again and again, while it is no member itself. So nodes that lost each
// other, for however long, find each other again.
func (c *Cluster) rejoin(ctx context.Context) {
	said := c.o.Now()
	for pause := c.o.Probe / 5; ; pause = min(2*pause, c.o.RetryMost) {
		lost := c.lost()
		errs := c.ask(ctx, lost)
		c.asked.Store(true)
		if len(lost) == 0 {
			pause = c.o.Probe / 5 // as soon as one is lost again
		}
		if *c.cluster.Load() == "" {
			c.beFirst()
			pause = min(pause, 2*c.o.Probe)
		}
		if now := c.o.Now(); len(errs) > 0 && len(c.others()) == 0 && now.Sub(said) >= 10*time.Second {
			said = now
			c.log.Warn("no other node of the cluster can be reached, and it is tried on", "tried", strings.Join(lost, ", "), "err", errs[len(errs)-1],
				"hint", "are they started, is the port open for TCP and UDP, do all have the same --cluster-key-file?")
		}
		if !sleep(ctx, jitter(max(pause, time.Millisecond))) {
			return
		}
	}
}

// lost are the addresses, with an IP, at which there should be a node and no member is.
func (c *Cluster) lost() []string {
	here := map[string]bool{c.addr(): true}
	if *c.cluster.Load() != "" { // a node without a cluster asks those too that had none when it asked before
		for _, m := range c.others() {
			here[m.addr] = true
		}
	}
	var out []string
	for _, addr := range append(c.remembered(), c.o.Seeds...) {
		out = append(out, resolved(addr)...)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(a string) bool { return here[a] })
}

// remembered are the addresses of the nodes that are not up.
func (c *Cluster) remembered() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := readState(c.set)
	for _, n := range s.nodes {
		if n.ID != c.identity.ID && !c.up[n.ID] {
			out = append(out, s.addresses[n.ID].Gossip)
		}
	}
	return out
}

// resolved are the addresses of host:port, with IPs. None means that its name is not known now.
func resolved(addr string) []string {
	host, port, err := splitHostPort(addr)
	if err != nil || port == 0 {
		return nil
	}
	ips := []net.IP{net.ParseIP(host)}
	if ips[0] == nil {
		if ips, err = net.LookupIP(host); err != nil {
			return nil
		}
	}
	var out []string
	for _, ip := range ips {
		out = append(out, net.JoinHostPort(ip.String(), strconv.Itoa(port)))
	}
	return out
}

// ask asks these addresses for their members. A node without a cluster asks one after the other, so that it comes into one only.
func (c *Cluster) ask(ctx context.Context, addrs []string) (errs []error) {
	c.joining.Add(1)
	defer c.joining.Add(-1)
	var mu sync.Mutex
	one := func(addr string) {
		_, err := c.ml.Load().Join([]string{addr})
		c.metrics.joined(err)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, explain(err))
		}
	}
	var work sync.WaitGroup
	turns := make(chan struct{}, 8)
	for _, addr := range addrs {
		if ctx.Err() != nil {
			break
		}
		if *c.cluster.Load() == "" {
			one(addr)
			continue
		}
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			one(addr)
		})
	}
	work.Wait()
	return errs
}

// beFirst lets the first of several seeds, who all wait for each other, begin their cluster: when it has reached all of them, and
// none belongs to one.
func (c *Cluster) beFirst() {
	here := map[string]bool{c.addr(): true}
	if !anyOf(here, resolved(c.o.Seeds[0])) {
		return
	}
	for _, m := range c.others() {
		if m.cluster != "" {
			return
		}
		here[m.addr] = true
	}
	for _, seed := range c.o.Seeds {
		if !anyOf(here, resolved(seed)) {
			return
		}
	}
	if err := c.found(); err != nil {
		c.log.Error("no new cluster", "err", err)
	}
	c.sayCluster()
}

func anyOf(set map[string]bool, addrs []string) bool {
	return slices.ContainsFunc(addrs, func(a string) bool { return set[a] })
}

// sayCluster lets the others know to which cluster this node belongs from now on.
func (c *Cluster) sayCluster() {
	if err := c.ml.Load().UpdateNode(c.o.Probe); err != nil {
		c.log.Debug("nobody heard yet of which cluster this node is", "err", err)
	}
}

// explain says what an error of a join means, as far as that can be known.
func explain(err error) error {
	const hungUp = "the other node closed the connection: it may have another label, or be no node"
	if one := errors.Unwrap(err); one != nil {
		err = one // memberlist makes a list, here of one
	}
	text := err.Error()
	for _, row := range []struct{ has, means string }{
		{"encryption is configured but remote state is not encrypted", "the other node has no secret, or another one: all need the same --cluster-key-file"},
		{"encrypted and encryption is not configured", "the other node has a secret and this one has none: give it the same --cluster-key-file"},
		{"no installed keys could decrypt", "the nodes have different secrets: all need the same --cluster-key-file"},
		{"EOF", hungUp}, {"connection reset", hungUp}, {"pipe", hungUp},
	} {
		if strings.Contains(text, row.has) {
			return fmt.Errorf("%s: %w", row.means, err)
		}
	}
	return err
}
