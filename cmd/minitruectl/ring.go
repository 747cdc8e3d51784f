package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/minitrue/minitrue/cmd/internal/bench"
)

// ring is what a node says of its cluster at /api/v1/cluster.
type ring struct {
	Self        string   `json:"self"`
	Epoch       string   `json:"epoch"`
	Replication int      `json:"replication_factor"`
	Consistency string   `json:"write_consistency"`
	Held        string   `json:"held_consistency"`
	Nodes       []member `json:"nodes"`
	Change      *change  `json:"change"`
	Copying     copying  `json:"copying"`
	Warnings    []string `json:"warnings"`

	Hints map[string]int64 `json:"hints"`
}

type member struct {
	ID         string  `json:"id"`
	Name       string  `json:"name"`
	State      string  `json:"state"`
	Up         bool    `json:"up"`
	Observer   bool    `json:"observer,omitempty"`
	Zone       string  `json:"zone"`
	HTTP       string  `json:"http"`
	Gossip     string  `json:"gossip"`
	Partitions int     `json:"partitions"`
	Share      float64 `json:"share"`
}

type change struct {
	Node    string   `json:"node"`
	State   string   `json:"state"`
	Copies  int      `json:"copies"`
	Waiting []string `json:"waiting"`
}

// copying is how far the node that was asked is in copying what it gains.
type copying struct {
	Total      int    `json:"total"`
	Done       int    `json:"done"`
	Samples    int64  `json:"samples"`
	Bytes      int64  `json:"bytes"`
	WaitingFor string `json:"waiting_for"`
}

// clusterClient asks one node about its cluster.
type clusterClient struct{ url string }

func newRing() *cobra.Command {
	k := &clusterClient{}
	c := group("ring", "Look at a cluster and change it",
		k.status(),
		k.change("leave NODE", "Move a node's data to the others, and then let it go", "leave"),
		k.change("remove NODE", "Take dead nodes out at once and copy nothing: the last resort when more are gone than there are copies to spare", "remove"),
		k.change("forget NODE", "Take a dead node out: the others make the copies that it had", "forget"),
		k.set(),
		newRingKey(),
	)
	c.PersistentFlags().StringVar(&k.url, "url", "http://127.0.0.1:8080", "of any node of the cluster")
	return c
}

func (k *clusterClient) status() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Print the nodes, what each owns, and what is under way",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var r ring
			if err := k.ask(c.Context(), http.MethodGet, "/api/v1/cluster", nil, &r); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), r)
			}
			return r.print(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (k *clusterClient) change(use, short, path string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			err := k.ask(c.Context(), http.MethodPost, "/api/v1/cluster/"+path, url.Values{"node": args}, nil)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), "under way: see minitruectl ring status")
			}
			return err
		},
	}
}

func (k *clusterClient) set() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME VALUE",
		Short: "Change replication-factor or write-consistency of the whole cluster",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return k.ask(c.Context(), http.MethodPost, "/api/v1/cluster/settings", url.Values{"name": args[:1], "value": args[1:]}, nil)
		},
	}
}

func newRingKey() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print a new secret for --cluster-key-file",
		Args:  cobra.NoArgs,
		Run:   func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), rand.Text()+rand.Text()) },
	}
}

// ask sends one request and reads the data of the answer into it.
func (k *clusterClient) ask(ctx context.Context, method, path string, query url.Values, into any) error {
	target, err := bench.Endpoint(k.url, path)
	if err != nil {
		return err
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	var answer struct {
		Error string          `json:"error"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s answers %s: %.200s", target, resp.Status, body)
	}
	switch {
	case answer.Error != "":
		return errors.New(answer.Error)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s answers %s", target, resp.Status)
	case into == nil:
		return nil
	}
	return json.Unmarshal(answer.Data, into)
}

func (r *ring) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tHEALTH\tOWNS\tZONE\tHTTP\tGOSSIP\tHINTS")
	for _, m := range r.Nodes {
		health := "down"
		if m.Up {
			health = "up"
		}
		name := m.Name
		if m.ID == r.Self {
			name += " *"
		}
		owns := fmt.Sprintf("%d (%.1f%%)", m.Partitions, 100*m.Share)
		if m.Observer {
			owns = "nothing (queries)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f MiB\n",
			name, m.State, health, owns, m.Zone, m.HTTP, m.Gossip, mebi(r.Hints[m.ID]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nepoch %s, %d copies, write consistency %s; * is the node that answers\n", r.Epoch, r.Replication, r.Consistency)
	if r.Held != "" && r.Held != r.Consistency {
		fmt.Fprintf(w, "what was written before is counted on as by %s, until every node has been up and has taken what it lacks\n", r.Held)
	}
	if c := r.Change; c != nil && c.Node != "" {
		fmt.Fprintf(w, "%s is %s; still copying: %s\n", c.Node, c.State, strings.Join(c.Waiting, ", "))
	} else if c != nil {
		fmt.Fprintf(w, "there will be %d copies; still copying: %s\n", c.Copies, strings.Join(c.Waiting, ", "))
	}
	if c := r.Copying; c.Total > 0 {
		fmt.Fprintf(w, "this node has copied %d of %d partitions, %d samples, %.1f MiB\n", c.Done, c.Total, c.Samples, mebi(c.Bytes))
		if c.WaitingFor != "" {
			fmt.Fprintf(w, "it waits: %s\n", c.WaitingFor)
		}
	}
	for _, text := range r.Warnings {
		fmt.Fprintln(w, "warning:", text)
	}
	return nil
}
