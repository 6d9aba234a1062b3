package simnet

// Faults may be set and lifted at any time, for hosts that exist or not. What
// is under way meets the fault as it is when it arrives.

// Cut separates two hosts in both directions: packets vanish, streams stall
// without a sign, dials wait.
func (n *Network) Cut(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{a, b}] = true
	n.cuts[link{b, a}] = true
}

// CutOneWay drops what one host sends to another and lets the answers pass.
func (n *Network) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[link{from, to}] = true
}

// Split separates every host of one side from every host of the other.
func (n *Network) Split(left, right []string) {
	for _, a := range left {
		for _, b := range right {
			n.Cut(a, b)
		}
	}
}

// Isolate separates a host from all others, also from those made later.
func (n *Network) Isolate(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isolated[name] = true
}

// Heal lifts every cut and isolation. Streams go on with what was written
// meanwhile. Paused and dead hosts stay so.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
	clear(n.isolated)
	n.changedLocked()
}

// SetQuality sets the quality of every link that SetLink does not name.
func (n *Network) SetQuality(q Quality) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.quality = q
}

// SetLink sets the quality of one direction between two hosts.
func (n *Network) SetLink(from, to string, q Quality) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links[link{from, to}] = q
}

// Pause freezes a host's traffic in both directions. Nothing is lost but what
// overflows: packets and bytes wait and arrive after Resume.
func (n *Network) Pause(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil {
		h.paused = true
	}
}

// Resume lets a paused host's traffic go on.
func (n *Network) Resume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil || !h.paused {
		return
	}
	h.paused = false
	held := h.held
	h.held = nil
	for _, p := range held {
		n.arriveLocked(p)
	}
	n.changedLocked()
}

// Kill ends a host as kill -9 ends a process: everything on it fails at once,
// the far ends of its streams are reset, later dials are refused.
func (n *Network) Kill(name string) { n.down(name, killed) }

// Vanish ends a host as a power cut does: everything on it fails at once, and
// nobody is told. The far ends of its streams stall and dials wait, until Host
// makes a new host of that name, which resets the streams that still send.
func (n *Network) Vanish(name string) { n.down(name, vanished) }

func (n *Network) down(name string, how hostState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[name]; h != nil && h.state == up {
		n.downLocked(h, how)
		n.changedLocked()
	}
}

// downLocked ends a host and everything on it.
func (n *Network) downLocked(h *Host, how hostState) {
	h.state, h.paused, h.held = how, false, nil
	for _, l := range h.listeners {
		l.closeLocked()
	}
	for _, t := range h.transports {
		t.closeLocked()
	}
	for s := range n.streams {
		for _, c := range s.ends {
			switch {
			case c.host != h || c.closed:
			case how == vanished:
				c.endLocked()
			default:
				c.abortLocked()
			}
		}
	}
}

// orphanLocked lets a new host answer for a vanished one. Its kernel knows
// nothing of the old streams, so it resets whoever has sent bytes since; the
// others learn it when they write.
func (n *Network) orphanLocked(former *Host) {
	if former.state != vanished {
		return
	}
	former.state = killed
	for s := range n.streams {
		for i, c := range s.ends {
			far := s.ends[1-i]
			if c.host == former && c.in.size > 0 {
				far.in.resetLocked()
			}
		}
	}
}
