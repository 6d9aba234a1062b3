//go:build linux

package main

import (
	"fmt"
	"time"
)

const (
	// nodeFiles is a node's file limit in the files story. All but filesKept of
	// them are for clients.
	nodeFiles, filesKept = 1536, 512
	// full is the metric of who was refused for it.
	full = `rollcall_edge_refused_total{reason="full"}`
	// fullFor is how long the nodes are left full.
	fullFor = 20 * time.Second
)

// files brings more clients than the nodes have files for. The nodes say so to
// those who do not fit, keep what they have, and take the others in when there
// is room.
func files(l *lab) error {
	l.files = nodeFiles
	if err := l.set(3); err != nil {
		return err
	}
	room := 3 * (nodeFiles - filesKept)
	l.swarm.come()
	time.Sleep(fullFor)
	in, kept := l.swarm.online()
	l.figure("connected, of as many as fit; of so many who came", fmt.Sprintf("%d of %d; %d", in, room, l.clients))
	counts, err := l.stage.counted(full)
	if err != nil {
		return err
	}
	l.figure("refused because a node is full", counts[full])
	if in < room*95/100 || in > room {
		l.fault("%d are connected where %d fit", in, room)
	}
	if counts[full] == 0 {
		l.fault("nobody was told that the nodes are full")
	}
	if err := l.stage.settle(); err != nil {
		l.fault("full nodes are not ready: %v", err)
	}
	if still, _ := l.swarm.online(); still < in*99/100 {
		l.fault("of %d connected %d are left", in, still)
	}
	leave := min(l.clients-room+100, len(kept))
	for _, p := range kept[:leave] {
		p.vanish()
	}
	left := time.Now()
	took, err := l.swarm.allOnline(backLimit)
	if err != nil {
		return err
	}
	l.figure(fmt.Sprintf("%d leave; all the others are in after", leave), took.Round(time.Millisecond))
	l.figure("of them a client had to wait since", spread(l.swarm.arrivals(left)))
	if err := l.stage.fallen(); err != nil {
		return err
	}
	return l.stage.broken()
}
