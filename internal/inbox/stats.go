package inbox

import (
	"slices"
	"strings"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Stats is what an Inbox holds, by the incarnations it speaks with.
type Stats struct {
	Peers []PeerStats
	// Dead is how many dead incarnations are remembered.
	Dead int
}

// PeerStats is what an Inbox holds for one incarnation.
type PeerStats struct {
	Peer protocol.Incarnation
	// Waiting are our calls without an answer, Untaken those of them that the
	// other side is not known to have, and Oldest is the longest wait.
	Waiting, WaitingBytes int
	Untaken               int
	Oldest                time.Duration
	// Running are calls of the other side that wait for our answer, Answers
	// those whose answer it is not known to have.
	Running              int
	Answers, AnswerBytes int
	// Casts are those that have not left.
	Casts int
}

// Stats reports what the inbox holds now, sorted by incarnation.
func (in *Inbox) Stats() Stats {
	in.mu.RLock()
	peers := make([]*peer, 0, len(in.peers))
	for _, p := range in.peers {
		peers = append(peers, p)
	}
	s := Stats{Peers: make([]PeerStats, 0, len(peers)), Dead: in.dead.len()}
	in.mu.RUnlock()
	now := time.Now()
	for _, p := range peers {
		s.Peers = append(s.Peers, p.stats(now))
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int {
		return strings.Compare(string(a.Peer), string(b.Peer))
	})
	return s
}

func (p *peer) stats(now time.Time) PeerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PeerStats{
		Peer:         p.inc,
		Waiting:      len(p.link.waiting),
		WaitingBytes: p.link.waitingBytes,
		Untaken:      p.link.calls.count,
		Running:      p.link.running,
		Answers:      p.link.answers.count,
		AnswerBytes:  p.link.answers.bytes,
		Casts:        p.link.casts.count,
	}
	for _, c := range p.link.waiting {
		s.Oldest = max(s.Oldest, now.Sub(c.since))
	}
	return s
}
