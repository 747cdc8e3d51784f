package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/minitrue/minitrue/chunk/series"
	"github.com/minitrue/minitrue/shard/gossip"
	"github.com/minitrue/minitrue/shard/repair"
)

// clusterStatus is the answer of GET /api/v1/cluster.
type clusterStatus struct {
	gossip.Status
	Copying repair.Progress  `json:"copying"`
	Hints   map[string]int64 `json:"hints"`             // bytes that wait here, by the node's UUID
	Digests string           `json:"digests,omitempty"` // of all samples that this node has, when they were asked for
}

// register adds what operators ask about the cluster, and how they change it.
func (m *membership) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/cluster", func(w http.ResponseWriter, r *http.Request) {
		status, err := m.status(r)
		answerCluster(w, status, err)
	})
	guard := http.NewCrossOriginProtection()
	for path, change := range map[string]func(r *http.Request) error{
		"leave":    func(r *http.Request) error { return m.gossip.Leave(r.FormValue("node")) },
		"forget":   func(r *http.Request) error { return m.gossip.Forget(r.FormValue("node")) },
		"remove":   func(r *http.Request) error { return m.gossip.Remove(r.FormValue("node")) },
		"settings": func(r *http.Request) error { return m.gossip.SetSetting(r.FormValue("name"), r.FormValue("value")) },
	} {
		mux.Handle("POST /api/v1/cluster/"+path, guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			err := change(r)
			m.log.Info("a change of the cluster was asked for", "change", path, "with", r.Form, "err", err)
			answerCluster(w, nil, err)
		})))
	}
}

// answerCluster answers in the form of Prometheus's API.
func answerCluster(w http.ResponseWriter, data any, err error) {
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"status": "success", "data": data}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"status": "error", "error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // an error here is the client's loss alone
}

// refuseWrite answers writers at a node that only answers queries: never here, and where else.
func (m *membership) refuseWrite(w http.ResponseWriter, _ *http.Request) {
	where := "a node that was started without --mode=query"
	var others []string
	v := m.gossip.View()
	for i, n := range v.Members {
		if i != v.Self && !n.Observer {
			others = append(others, fmt.Sprintf("%s (%s)", n.Name, n.HTTP))
		}
	}
	if len(others) > 0 {
		where = strings.Join(others, " or ")
	}
	http.Error(w, fmt.Sprintf("node %s only answers queries (--mode=query): write to %s", m.f.NodeID, where), http.StatusForbidden)
}

func (m *membership) status(r *http.Request) (*clusterStatus, error) {
	s := &clusterStatus{Status: m.gossip.Status(), Copying: m.repair.Progress(), Hints: map[string]int64{}}
	for _, node := range m.hints.Peers() {
		s.Hints[node] = m.hints.Pending(node)
	}
	if r.FormValue("digests") == "" {
		return s, nil
	}
	leaves, err := m.store.Digests(r.Context(), math.MinInt64/2, math.MaxInt64/2)
	if err != nil {
		return nil, fmt.Errorf("digests: %w", err)
	}
	var sum series.Digest
	for _, l := range leaves {
		sum = sum.Plus(l.Digest)
	}
	s.Digests = sum.String()
	return s, nil
}
