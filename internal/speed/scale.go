//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	// scaleRooms rooms of roomSize are on each cluster of the row.
	scaleRooms = 300
	// masters are in the Redis Cluster.
	masters = 3
	// scaleRate is the publications a second.
	scaleRate = 300
	// scaleSettle is how long a new cluster is left alone.
	scaleSettle = 3 * time.Second
	// scaleBeats is how many heartbeats everybody sends.
	scaleBeats = 3
)

// scale measures what the same work costs 1, 2, 3 and 5 nodes, with every client
// where end_point sends it, and with clients anywhere, then also on a Redis
// Cluster.
func scale(l *lab) ([]figure, error) {
	var figures []figure
	for _, s := range []struct {
		nodes   int
		routed  bool
		masters int
	}{{1, true, 1}, {2, true, 1}, {3, true, 1}, {5, true, 1}, {2, false, 1}, {3, false, 1}, {5, false, 1}, {3, false, masters}} {
		got, err := l.scaled(s.nodes, s.routed, s.masters)
		if err != nil {
			return nil, fmt.Errorf("%d nodes: %w", s.nodes, err)
		}
		figures = append(figures, got...)
		l.stage.close()
	}
	return figures, nil
}

// spending is what nodes and Redis have taken so far.
type spending struct {
	at             time.Time
	nodes, redis   time.Duration
	commands, wire float64   // of Redis; bytes both ways
	each           []float64 // the commands of each master
}

func (s *scaling) spending() (spending, error) {
	now := spending{at: time.Now(), nodes: spent(s.nodes)}
	for _, m := range s.masters {
		info, err := redisStats(m.address)
		if err != nil {
			return now, err
		}
		now.redis += m.cpu()
		now.commands += info["total_commands_processed"]
		now.wire += info["total_net_input_bytes"] + info["total_net_output_bytes"]
		now.each = append(now.each, info["total_commands_processed"])
	}
	return now, nil
}

// master is a redis-server.
type master struct {
	*process
	address string // host:port
}

// startMasters starts one redis-server, or a Cluster of more, and returns its
// address for nodes.
func (st *stage) startMasters(n int) (all []master, url string, err error) {
	if n == 1 {
		p, url, err := st.startRedis()
		return []master{{p, strings.TrimPrefix(url, "redis://")}}, url, err
	}
	var addresses []string
	for i := range n {
		address := freeAddress()
		_, port, _ := net.SplitHostPort(address)
		p, err := st.start(fmt.Sprintf("master%d", i+1), exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port,
			"--save", "", "--dir", st.dir, "--cluster-enabled", "yes", "--cluster-config-file", "cluster-"+port+".conf"))
		if err != nil {
			return nil, "", err
		}
		all, addresses = append(all, master{p, address}), append(addresses, address)
	}
	err = within(15*time.Second, func() error {
		out, err := exec.Command("redis-cli", append(append([]string{"--cluster", "create"}, addresses...), "--cluster-yes")...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	return all, "redis://" + strings.Join(addresses, ",redis://"), err
}

// redisStats asks a redis-server for its counters.
func redisStats(address string) (map[string]float64, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // nothing was written that could be lost
	if _, err := conn.Write([]byte("INFO stats\r\nQUIT\r\n")); err != nil {
		return nil, err
	}
	stats := map[string]float64{}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			stats[name] = n
		}
	}
	return stats, lines.Err()
}

// scaled measures one cluster.
func (l *lab) scaled(n int, routed bool, of int) ([]figure, error) {
	all, url, err := l.startMasters(of)
	if err != nil {
		return nil, err
	}
	nodes, err := l.startNodes(n, url, "--heartbeat-timeout", patient)
	if err != nil {
		return nil, err
	}
	c, err := newCrowd()
	if err != nil {
		return nil, err
	}
	defer c.close()
	places, members, err := placed(nodes, routed)
	if err != nil {
		return nil, err
	}
	s := &scaling{nodes: nodes, masters: all}
	s.label = fmt.Sprintf("%d nodes, clients anywhere", n)
	if routed {
		s.label = fmt.Sprintf("%d nodes", n)
	}
	if of > 1 {
		s.label += fmt.Sprintf(", Cluster of %d", of)
	}
	time.Sleep(scaleSettle) // who has just joined claims what has been used
	err = s.all(c, l.lasts, places, members)
	return s.figures, err
}

// all measures one piece of work after another.
func (s *scaling) all(c *crowd, lasts time.Duration, places []*place, members []member) error {
	sleep := func() error {
		time.Sleep(lasts)
		return nil
	}
	if err := s.measure("second of an empty cluster", 1/lasts.Seconds(), spending{}, sleep); err != nil {
		return err
	}
	err := s.measure("join", 1/float64(len(members)), s.last, func() error {
		if err := c.connect(members); err != nil {
			return err
		}
		if err := enter(s.nodes[0], members); err != nil {
			return err
		}
		c.quiet()
		return nil
	})
	if err != nil {
		return err
	}
	c.settle()
	if err := s.measure("second with its clients", 1/lasts.Seconds(), spending{}, sleep); err != nil {
		return err
	}
	rest := s.last
	err = s.measure("heartbeat", 1/float64(scaleBeats*len(members)), rest, func() error {
		for range scaleBeats {
			(&audience{crowd: c}).pings(time.Second)
		}
		return nil
	})
	if err != nil {
		return err
	}
	to := target{at: s.nodes[0].api}
	err = s.measure("publication to ten", 1/(scaleRate*lasts.Seconds()), rest, func() error {
		return c.openLoop(to, places, scaleRate, lasts)
	})
	if err != nil {
		return err
	}
	return s.flatOut(lasts, places, func() error { return c.busy(to, places, inFlight, lasts) })
}

// flatOut measures publications whose number is known afterwards.
func (s *scaling) flatOut(lasts time.Duration, places []*place, work func() error) error {
	first, before := len(s.figures), published(places)
	if err := s.measure("publication to ten, flat out", 1, spending{}, work); err != nil {
		return err
	}
	sent := float64(published(places) - before)
	for i := range s.figures[first : first+4] { // a master's share is one already
		s.figures[first+i].value /= sent
	}
	s.figures = append(s.figures, figure{name: s.label + ", publications/s, flat out", value: sent / lasts.Seconds()})
	return nil
}

// published counts the publications of all rooms so far.
func published(places []*place) (n int64) {
	for _, p := range places {
		n += p.next.Load()
	}
	return n
}

// scaling is one cluster under measurement.
type scaling struct {
	nodes   []*node
	masters []master
	label   string
	figures []figure
	last    spending // what the last work took, a second
}

// measure runs work and says what it took for each of its pieces, what the
// cluster takes at rest taken off.
func (s *scaling) measure(what string, each float64, rest spending, work func() error) error {
	before, err := s.spending()
	if err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	after, err := s.spending()
	if err != nil {
		return err
	}
	seconds := after.at.Sub(before.at).Seconds()
	of := func(before, after, rest float64) float64 { return (after - before - rest*seconds) * each }
	for _, f := range []figure{
		{name: "CPU of the nodes", value: of(micros(before.nodes), micros(after.nodes), micros(rest.nodes)), unit: "us"},
		{name: "CPU of Redis", value: of(micros(before.redis), micros(after.redis), micros(rest.redis)), unit: "us"},
		{name: "commands of Redis", value: of(before.commands, after.commands, rest.commands)},
		{name: "bytes of Redis", value: of(before.wire, after.wire, rest.wire), unit: "B"},
	} {
		f.name = fmt.Sprintf("%s, a %s: %s", s.label, what, f.name)
		s.figures = append(s.figures, f)
	}
	if len(s.masters) > 1 {
		most := 0.0
		for i := range after.each {
			most = max(most, after.each[i]-before.each[i])
		}
		s.figures = append(s.figures, figure{
			name: fmt.Sprintf("%s, a %s: share of the busiest master", s.label, what), value: most / (after.commands - before.commands),
		})
	}
	a := 1 / seconds
	s.last = spending{
		nodes: time.Duration(float64(after.nodes-before.nodes) * a), redis: time.Duration(float64(after.redis-before.redis) * a),
		commands: (after.commands - before.commands) * a, wire: (after.wire - before.wire) * a,
	}
	return nil
}

// placed decides who is in which room and connects where.
func placed(nodes []*node, routed bool) ([]*place, []member, error) {
	var places []*place
	var members []member
	for i := range scaleRooms {
		p := newPlace(fmt.Sprintf("scale%d", i), manyPublications/scaleRooms)
		places = append(places, p)
		home, err := askWhere(nodes[0].listen, 1, p.name)
		if err != nil {
			return nil, nil, err
		}
		for j := range roomSize {
			user := i*roomSize + j + 1
			at := home
			if !routed {
				at = nodes[user%len(nodes)].listen
			}
			members = append(members, member{address: at, path: path(user), user: user, place: p})
		}
	}
	return places, members, nil
}
