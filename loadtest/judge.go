package main

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/faac1247/rollcall/protocol"
)

// toldSlack is how long after a return a departure may still be told: it was on
// its way.
const toldSlack = 2 * time.Second

// crowd is what all workers measured and know.
type crowd struct {
	figures   figures
	phones    map[protocol.UserID]PhoneState
	heard     []heard
	unheard   int64
	falsely   map[protocol.UserID]bool
	recovered map[string]time.Duration
	notes     map[string]int64
}

func gather(outcomes []Outcome) crowd {
	c := crowd{
		phones: make(map[protocol.UserID]PhoneState), falsely: make(map[protocol.UserID]bool),
		recovered: make(map[string]time.Duration), notes: make(map[string]int64),
	}
	for _, o := range outcomes {
		c.figures.add(o.Figures)
		for _, p := range o.Phones {
			c.phones[p.User] = p
		}
		c.heard = append(c.heard, o.Heard...)
		c.unheard += o.Unheard
		for _, user := range o.Falsely {
			c.falsely[user] = true
		}
		for room, d := range o.Recovered {
			if former, known := c.recovered[room]; !known || d < former {
				c.recovered[room] = d
			}
		}
		for text, n := range o.Notes {
			c.notes[text] += n
		}
	}
	return c
}

// listing is one user in, or missing from, one room's roster.
type listing struct {
	Room string          `json:"room"`
	User protocol.UserID `json:"user"`
	Why  string          `json:"why"`
}

// standing is how the rosters compare with the users.
type standing struct{ ghosts, missing []listing }

func (s standing) fits() bool { return len(s.ghosts) == 0 && len(s.missing) == 0 }

// compare holds rosters against where the users are. Others' users in our rooms
// are none of our business.
func (c *crowd) compare(rosters map[string][]protocol.UserID) standing {
	var s standing
	listed := make(map[protocol.UserID]string)
	for _, room := range sorted(rosters) {
		for _, user := range rosters[room] {
			p, ours := c.phones[user]
			switch {
			case !ours:
			case !p.Online:
				s.ghosts = append(s.ghosts, listing{room, user, "has no connection"})
			case p.Room != room:
				s.ghosts = append(s.ghosts, listing{room, user, "is in " + quoted(p.Room)})
			default:
				listed[user] = room
			}
		}
	}
	for user, p := range c.phones {
		if p.Online && p.Room != "" && listed[user] == "" {
			s.missing = append(s.missing, listing{p.Room, user, "is connected and was let in"})
		}
	}
	slices.SortFunc(s.missing, func(a, b listing) int { return int(a.User - b.User) })
	return s
}

func quoted(room string) string {
	if room == "" {
		return "no room"
	}
	return room
}

// falseExits returns the users who were declared lost without cause: they found
// themselves out of their room although they were back in time, or others were
// told that they left while they were there.
func (c *crowd) falseExits(grace time.Duration) map[protocol.UserID]bool {
	users := make(map[protocol.UserID]bool)
	for user := range c.falsely {
		users[user] = true
	}
	for _, h := range c.heard {
		if p, ours := c.phones[h.User]; ours && !p.lostAt(h.At, grace) {
			users[h.User] = true
		}
	}
	return users
}

// lostAt reports whether a departure told at this time has an absence for its
// cause.
func (p PhoneState) lostAt(at time.Time, grace time.Duration) bool {
	for _, a := range p.Absences {
		begun := !a.From.After(at.Add(graceSlack))
		recent := a.To.IsZero() || !at.After(a.To.Add(toldSlack))
		cause := a.OnPurpose || a.To.IsZero() || a.To.Sub(a.From) >= grace-graceSlack
		if begun && recent && cause {
			return true
		}
	}
	return false
}

// countLines counts lines that viewers did not get: each gets all.
func (c *crowd) countLines(viewers int) {
	lost := c.figures.Counts[cLost]
	lost.Total = max(0, c.figures.Counts[cSent].Total*int64(viewers)-c.figures.Counts[cDelivered].Total)
	c.figures.Counts[cLost] = lost
}

// told measures how long after each loss the first relay was told of it.
func (c *crowd) told() *hdrhistogram.Histogram {
	first := make(map[protocol.DepartureID]heard)
	for _, h := range c.heard {
		if former, known := first[h.ID]; !h.Call && (!known || h.At.Before(former.At)) {
			first[h.ID] = h
		}
	}
	times := hdrhistogram.New(1, highestValue, 3)
	for _, h := range first {
		var since time.Time
		for _, a := range c.phones[h.User].Absences {
			if !a.From.After(h.At) {
				since = a.From
			}
		}
		if !since.IsZero() {
			_ = times.RecordValue(min(max(h.At.Sub(since).Microseconds(), 1), highestValue)) // it is within the bounds
		}
	}
	return times
}

// recovery returns how long it took, at most, until users who lost their
// connection during the run were in their rooms again, and rooms heard of each
// other again after a kill. It reports false if some never were.
func (c *crowd) recovery(start time.Time, rooms int) (longest time.Duration, complete bool) {
	complete = true
	for _, p := range c.phones {
		for _, a := range p.Absences {
			switch {
			case p.Away || a.From.Before(start):
			case a.In.IsZero():
				// One that was followed by another is measured by that.
				complete = complete && !a.To.IsZero() && p.Room != ""
			default:
				longest = max(longest, a.In.Sub(a.From))
			}
		}
	}
	for _, d := range c.recovered {
		longest = max(longest, d)
	}
	return longest, complete && (rooms == 0 || len(c.recovered) >= rooms)
}
