package api

import (
	"context"

	"github.com/faac1247/rollcall/protocol"
)

// clusterAnswer is that of GET cluster.
type clusterAnswer struct {
	// Node is the one that answers; the rest is its view.
	Node protocol.NodeID `json:"node"`
	// Agreed reports whether all members that serve have this node's ring.
	Agreed bool `json:"agreed"`
	ClusterView
}

func (a *API) cluster(context.Context, *request) (any, error) {
	answer := clusterAnswer{Node: a.cfg.Cluster.Node(), Agreed: true, ClusterView: a.cfg.Cluster.Members()}
	for _, m := range answer.Members {
		if m.State == "serving" && m.Digest != answer.Digest {
			answer.Agreed = false
		}
	}
	if answer.Members == nil {
		answer.Members = []Member{}
	}
	return answer, nil
}
