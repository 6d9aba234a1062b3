//go:build linux

package main

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// crowdSize is how many connections the rows of memory and rejoining have.
	crowdSize = 15_000
	// heartbeats is for how long the memory row's clients have been there.
	heartbeats = 60 * time.Second
	// pingEvery is what end_point tells clients by default.
	pingEvery = 15 * time.Second
)

// memory measures what a connection in a room takes, as the program is shipped.
func memory(l *lab) ([]figure, error) {
	a := new(audience)
	if err := l.serve(a, false, "--heartbeat-timeout", "20s"); err != nil {
		return nil, err
	}
	defer l.leave(a)
	empty, emptyHeap := a.server.resident(), a.node.inUse()
	var places []*place
	for i := range crowdSize / roomSize {
		places = append(places, newPlace(fmt.Sprintf("memory%d", i), 1))
	}
	filled := make(chan error, 1)
	go func() { filled <- a.fill(roomSize, 1, places...) }()
	// Who is in already pings while others still come.
	for done := false; !done; {
		select {
		case err := <-filled:
			if err != nil {
				return nil, err
			}
			done = true
		case <-time.After(pingEvery / 3):
			a.pings(pingEvery / 3)
		}
	}
	for end := time.Now().Add(heartbeats); time.Now().Before(end); {
		a.pings(pingEvery)
	}
	if n := a.gone.Load(); n > 0 {
		return nil, fmt.Errorf("%d connections were closed", n)
	}
	each := func(bytes float64) float64 { return bytes / crowdSize / 1024 }
	return []figure{
		{name: "RSS a connection, the empty process taken off", value: each(float64(a.server.resident() - empty)), unit: "KiB", most: 9},
		{name: "heap and stacks in use a connection, likewise", value: each(a.node.inUse() - emptyHeap), unit: "KiB", most: 7.5},
		{name: "RSS of the empty process", value: float64(empty) / (1 << 20), unit: "MiB"},
	}, nil
}

// inUse is the memory of heap and stacks by the runtime's own count.
func (nd *node) inUse() float64 {
	return nd.gauge("go_memstats_heap_alloc_bytes") + nd.gauge("go_memstats_stack_inuse_bytes")
}

// pings sends one signed heartbeat of everybody, spread over a time.
func (a *audience) pings(over time.Duration) {
	a.mu.Lock()
	all := append([]*socket(nil), a.sockets...)
	a.mu.Unlock()
	began := time.Now()
	for i, s := range all {
		if frame, err := s.signed("ping", ""); err == nil {
			_ = s.say(frame) // a closed one is counted by the reader
		}
		if i%64 == 0 {
			time.Sleep(time.Until(began.Add(over * time.Duration(i) / time.Duration(len(all)))))
		}
	}
	time.Sleep(time.Until(began.Add(over)))
}

// entering has every member enter its room by itself, n under way at a time.
func (c *crowd) entering(sockets []*socket, n int) error {
	slots := make(chan struct{}, n)
	var entered atomic.Int64
	c.mu.Lock()
	var refused atomic.Pointer[string]
	c.hear = func(_ *socket, payload []byte) {
		switch {
		case bytes.HasPrefix(payload, []byte(`{"action":"entered"`)):
			select {
			case <-slots:
				entered.Add(1)
			default: // told again
			}
		case bytes.HasPrefix(payload, []byte(`{"action":"error"`)):
			text := string(payload)
			refused.Store(&text)
		}
	}
	c.mu.Unlock()
	for _, s := range sockets {
		frame, err := s.signed("enter_room", fmt.Sprintf(`,"room_id":%q,"nickname":"n"`, s.place.name))
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		case <-time.After(20 * time.Second):
			why := "no error frame came"
			if text := refused.Load(); text != nil {
				why = *text
			}
			return fmt.Errorf("%d of %d have entered, and then nobody for 20 s: %s", entered.Load(), len(sockets), why)
		}
		if err := s.say(frame); err != nil {
			return err
		}
	}
	return within(20*time.Second, func() error {
		if n := entered.Load(); int(n) < len(sockets) {
			return fmt.Errorf("%d of %d have entered", n, len(sockets))
		}
		return nil
	})
}

// join measures the CPU of handshakes and of entering, each by itself.
func join(l *lab) ([]figure, error) {
	const joiners = 5000
	bare, err := l.bareHandshakes(joiners)
	if err != nil {
		return nil, err
	}
	a := new(audience)
	if err := l.serve(a, false); err != nil {
		return nil, err
	}
	defer l.leave(a)
	var members []member
	for i := range joiners {
		p := newPlace(fmt.Sprintf("join%d", i/roomSize), 1)
		members = append(members, member{address: a.node.listen, path: path(i+1) + "&v=2", user: i + 1, place: p})
	}
	cpu, store := a.server.cpu(), a.redis.cpu()
	stop := l.profiled(a.node)
	if err := a.connect(members); err != nil {
		return nil, err
	}
	connects, connectStore := a.server.cpu()-cpu, a.redis.cpu()-store
	cpu, store = a.server.cpu(), a.redis.cpu()
	if err := a.entering(a.sockets, 64); err != nil {
		return nil, err
	}
	enters, enterStore := a.server.cpu()-cpu, a.redis.cpu()-store
	stop()
	for i := range members {
		members[i].place = newPlace(fmt.Sprintf("put%d", i/roomSize), 1)
	}
	cpu = a.server.cpu()
	if err := enter(a.node, members); err != nil {
		return nil, err
	}
	puts := a.server.cpu() - cpu
	each := func(d time.Duration) float64 { return micros(d) / joiners }
	return []figure{
		{name: "CPU a handshake, bare", value: each(bare), unit: "us"},
		{name: "CPU a handshake", value: each(connects), unit: "us"},
		{name: "CPU an enter_room", value: each(enters), unit: "us"},
		{name: "CPU a join: both", value: each(connects + enters), unit: "us", most: 124},
		{name: "Redis CPU a join", value: each(connectStore + enterStore), unit: "us"},
		{name: "CPU a move by PUT", value: each(puts), unit: "us"},
	}, nil
}

// bareHandshakes returns the CPU that a bare server takes for n handshakes.
func (l *lab) bareHandshakes(n int) (time.Duration, error) {
	a := new(audience)
	if err := l.serve(a, true); err != nil {
		return 0, err
	}
	defer l.leave(a)
	members := make([]member, n)
	for i := range members {
		members[i] = member{address: a.target.at, path: fmt.Sprintf("/?room=join%d", i/roomSize), user: i + 1, place: newPlace("join", 1)}
	}
	before := a.server.cpu()
	err := a.connect(members)
	return a.server.cpu() - before, err
}

// hangup cuts callers off, 500 a second, and listens at their parties.
func hangup(l *lab) ([]figure, error) {
	calls := int(calmRate * l.lasts.Seconds())
	c, err := l.cluster()
	if err != nil {
		return nil, err
	}
	defer c.close()
	var members []member
	for i := range 2 * calls {
		members = append(members, member{address: c.nodes[i%3].listen, path: path(i + 1), user: i + 1})
	}
	if err := c.connect(members); err != nil {
		return nil, err
	}
	var g errgroup.Group
	g.SetLimit(32)
	for i := range calls {
		g.Go(func() error {
			_, err := call(http.MethodPut, fmt.Sprintf("http://%s/v1/calls/c%d", c.nodes[i%3].api, i),
				fmt.Appendf(nil, `{"caller_id":%d,"receiver_id":%d}`, 2*i+1, 2*i+2))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c.quiet()
	cutAt := make([]atomic.Int64, calls)
	heard := make([]bool, calls)
	var told atomic.Int64
	c.mu.Lock()
	callers := make([]*socket, calls)
	for _, s := range c.sockets {
		if s.user%2 == 1 {
			callers[s.user/2] = s
		}
	}
	c.hear = func(s *socket, payload []byte) {
		i := s.user/2 - 1
		if s.user%2 == 0 && !heard[i] && bytes.HasPrefix(payload, []byte(`{"action":"hang_up"`)) {
			heard[i] = true
			_ = c.all.RecordValue(max(1, (c.now()-cutAt[i].Load())/1000)) // far below the longest
			told.Add(1)
		}
	}
	c.mu.Unlock()
	stop := l.profiled(c.nodes[0])
	defer punctual()()
	begin := c.now()
	for i, s := range callers {
		due := begin + int64(i)*int64(time.Second)/calmRate
		sleep(time.Duration(due - c.now()))
		cutAt[i].Store(due)
		c.mu.Lock()
		c.drop(s)
		c.mu.Unlock()
	}
	err = within(10*time.Second, func() error {
		if n := told.Load(); int(n) < calls {
			return fmt.Errorf("%d of %d heard hang_up", n, calls)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	stop()
	return []figure{
		{name: "p50", value: c.quantile(50), unit: "ms", most: 2},
		{name: "p99", value: c.quantile(99), unit: "ms", most: 15},
	}, nil
}

// rejoin cuts a whole room off and has it come back, at three sizes: within the
// grace, as after a crash of its node, when everybody still has the place; and
// at the smallest, after everybody was lost, when all enter anew and everybody
// is told of everybody.
func rejoin(l *lab) ([]figure, error) {
	var figures []figure
	for _, size := range []int{1500, 5000, crowdSize} {
		took, each, err := l.rejoined(size, false)
		if err != nil {
			return nil, fmt.Errorf("a room of %d: %w", size, err)
		}
		f := figure{name: fmt.Sprintf("a room of %d is whole again", size), value: took.Seconds(), unit: "s"}
		if size == crowdSize {
			f.most = 10
		}
		figures = append(figures, f, figure{name: "bytes a member", value: each})
	}
	took, each, err := l.rejoined(1500, true)
	if err != nil {
		return nil, fmt.Errorf("a room of 1500 that was lost: %w", err)
	}
	return append(figures,
		figure{name: "a room of 1500 that was lost has entered anew", value: took.Seconds(), unit: "s"},
		figure{name: "bytes a member", value: each}), nil
}

func (l *lab) rejoined(size int, lost bool) (took time.Duration, bytesEach float64, err error) {
	grace := "60s"
	if lost {
		grace = "0s"
	}
	a := new(audience)
	if err := l.serve(a, false, "--loss-grace", grace); err != nil {
		return 0, 0, err
	}
	defer l.leave(a)
	p := newPlace("rejoin", 1)
	var members []member
	for i := range size {
		members = append(members, member{address: a.node.listen, path: path(i+1) + "&v=2", user: i + 1, place: p})
	}
	if err := a.connect(members); err != nil {
		return 0, 0, err
	}
	if err := enter(a.node, members); err != nil {
		return 0, 0, err
	}
	a.quiet()
	a.cut(nil)
	before, began := a.bytes.Load(), time.Now()
	stop := l.profiled(a.node)
	if err := a.connect(members); err != nil {
		return 0, 0, err
	}
	back := func() error { return a.synced(size) }
	if lost {
		back = func() error { return a.entering(a.sockets, 256) }
	}
	if err := back(); err != nil {
		return 0, 0, err
	}
	took = time.Since(began)
	stop()
	a.quiet()
	return took, float64(a.bytes.Load()-before) / float64(size), nil
}

// synced has everybody ask for the room's state, as who knows nothing of it, and
// ask again while the room has not let the new connection in.
func (a *audience) synced(size int) error {
	const patience = 300 * time.Millisecond
	told := make([]atomic.Bool, size+1) // by user
	var left atomic.Int64
	left.Store(int64(size))
	a.mu.Lock()
	a.hear = func(s *socket, payload []byte) {
		if bytes.HasPrefix(payload, []byte(`{"action":"resync"`)) && !told[s.user].Swap(true) {
			left.Add(-1)
		}
	}
	a.mu.Unlock()
	for end := time.Now().Add(30 * time.Second); left.Load() > 0; time.Sleep(patience / 10) {
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d know nothing of their room", left.Load(), size)
		}
		asked := time.Now()
		for _, s := range a.sockets {
			if told[s.user].Load() {
				continue
			}
			frame, err := s.signed("sync", fmt.Sprintf(`,"room_id":%q,"epoch":0,"seq":0`, s.place.name))
			if err == nil {
				err = s.say(frame)
			}
			if err != nil {
				return err
			}
		}
		for left.Load() > 0 && time.Since(asked) < patience {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
