package integ

import "testing"

// stage is where a story with A and B happens.
type stage struct {
	*cluster
	room  string
	owner int // the node that owns room
	a, b  int // the nodes that A and B are connected to
	sign  signing
}

// everywhere tells a story with both users at the node that owns the room, and
// with everybody and everything at another node. Clients sign by HMAC in the
// one and by md5 in the other.
func everywhere(t *testing.T, story func(t *testing.T, s *stage)) {
	t.Helper()
	t.Parallel()
	for _, place := range []struct {
		name        string
		owner, a, b int
		sign        signing
	}{
		{"same node", 1, 1, 1, byHMAC},
		{"different nodes", 2, 3, 1, byMD5},
	} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			c := share(t, both)
			story(t, &stage{cluster: c, room: c.roomAt(place.owner), owner: place.owner, a: place.a, b: place.b, sign: place.sign})
		})
	}
}

// in is the same stage for a part of the story.
func (s *stage) in(t *testing.T) *stage {
	part := *s
	part.cluster = &cluster{tb: t, nodes: s.nodes}
	return &part
}

// come connects a new user to node i and has it enter the stage's room.
func (s *stage) come(i int, body fields) *phone {
	s.tb.Helper()
	p := s.dial(newUser(), i)
	s.enter(i, s.room, p.user, body)
	return p
}

// relay is come for somebody who reports every departure.
func (s *stage) relay(i int, body fields) *phone {
	s.tb.Helper()
	p := s.phone(newUser(), i, phoneOptions{sign: s.sign, report: true})
	s.enter(i, s.room, p.user, body)
	return p
}

// dial connects a user who reports nothing by itself.
func (s *stage) dial(user, i int) *phone {
	s.tb.Helper()
	return s.phone(user, i, phoneOptions{sign: s.sign})
}

var host = fields{"role": "host"}
