//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// partSize is how many members one process has at most: a process has some
// 20,000 descriptors.
const partSize = 10_000

// partPublications is more than a room of many thousands gets in a row.
const partPublications = 100_000

// pingsOver is the time over which everybody sends a heartbeat.
const pingsOver = 5 * time.Second

// order is what a part is told to do, one line of JSON each.
type order struct {
	// Do is join, settle, count, ping or beat, which goes on.
	Do string `json:"do"`
	// Users First to First+N-1 join Room; with Rooms, so many of them each a
	// room of that name and a number.
	Room  string `json:"room,omitempty"`
	Rooms int    `json:"rooms,omitempty"`
	First int    `json:"first,omitempty"`
	N     int    `json:"n,omitempty"`
	// Doors and APIs are the nodes' addresses.
	Doors []string `json:"doors,omitempty"`
	APIs  []string `json:"apis,omitempty"`
}

// news is what a part says, one line of JSON each.
type news struct {
	// Done is the order that was done; "" when all members here have a
	// publication.
	Done string `json:"done,omitempty"`
	// At is how many members were sent to each address, for join.
	At map[string]int `json:"at,omitempty"`
	// Delivered is how many publications members here got, for count.
	Delivered int64 `json:"delivered,omitempty"`
	// Gone is how many connections the nodes have closed, for count.
	Gone int64 `json:"gone,omitempty"`
	// Publication counts from 0; Nanos is when the last member had it.
	Publication int    `json:"publication,omitempty"`
	Nanos       int64  `json:"nanos,omitempty"`
	Fault       string `json:"fault,omitempty"`
}

// servePart is one process of a crowd that is too large for one: it does what
// it reads from in, until that ends.
func servePart(in io.Reader, out io.Writer) error {
	c, err := newCrowd()
	if err != nil {
		return err
	}
	defer c.close()
	var mu sync.Mutex // guards lines
	lines := json.NewEncoder(out)
	tell := func(n news) error {
		mu.Lock()
		defer mu.Unlock()
		return lines.Encode(n)
	}
	go func() {
		// A publication is complete after those before it, so that their count is
		// their number.
		for k := 0; ; k++ {
			<-c.completed
			if tell(news{Publication: k, Nanos: time.Now().UnixNano()}) != nil {
				return // who started us has gone
			}
		}
	}()
	orders := json.NewDecoder(in)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := news{Done: o.Do}
		switch o.Do {
		case "join":
			if answer.At, err = c.join(o); err != nil {
				answer.Fault = err.Error()
			}
		case "settle":
			c.quiet()
			c.settle()
			c.delivered.Store(0)
		case "ping":
			(&audience{crowd: c}).pings(pingsOver)
		case "beat":
			go c.beat()
		case "count":
			answer.Delivered, answer.Gone = c.delivered.Load(), c.gone.Load()
		}
		if err := tell(answer); err != nil {
			return err
		}
	}
}

// join brings users into a room as apps do: each asks end_point at some node,
// connects where it says, and is entered by the backend.
func (c *crowd) join(o order) (map[string]int, error) {
	p := newPlace(o.Room, partPublications)
	if o.Rooms > 0 {
		p = nil
	}
	at := make(map[string]int)
	var mu sync.Mutex // guards at
	var g errgroup.Group
	g.SetLimit(dialers)
	for i := range o.N {
		g.Go(func() error {
			user, via := o.First+i, i%len(o.Doors)
			p := p
			if p == nil {
				p = &place{name: o.Room + strconv.Itoa(user/o.Rooms)}
			}
			to, err := askWhere(o.Doors[via], user, p.name)
			if err != nil {
				return err
			}
			mu.Lock()
			at[to]++
			mu.Unlock()
			m := member{address: to, path: path(user), user: user, place: p}
			s, err := dial(m.address, m.path)
			if err != nil {
				return err
			}
			s.user, s.place = m.user, m.place
			if err := c.add(s); err != nil {
				return err
			}
			return enter(&node{api: o.APIs[via]}, []member{m})
		})
	}
	return at, g.Wait()
}

// askWhere returns the host:port that a node's end_point sends a user to.
func askWhere(door string, user int, room string) (string, error) {
	body, err := call(http.MethodGet, "http://"+door+"/api/websocket/end_point"+strings.TrimPrefix(path(user), "/")+"&room_id="+room, nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		EndPoint string `json:"end_point"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.EndPoint == "" {
		return "", fmt.Errorf("end_point of %s answers %s", door, body)
	}
	return strings.TrimPrefix(answer.EndPoint, "ws://"), nil
}

// parts is a crowd in several processes.
type parts struct {
	// set by startParts
	all   []*part
	place *place
	began time.Time

	completed chan struct{} // gets a token for each publication that everybody has
	done      chan news     // what the parts have done

	// guarded by mu
	mu    sync.Mutex
	short map[int]int // parts that have not got a publication
	took  *hdrhistogram.Histogram
}

type part struct {
	process *process
	orders  io.WriteCloser
}

// startParts starts as many processes as n members take.
func (st *stage) startParts(n int, room string) (*parts, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &parts{
		place: newPlace(room, manyPublications), began: time.Now(), completed: make(chan struct{}, manyPublications), done: make(chan news, 16),
		short: make(map[int]int), took: hdrhistogram.New(1, longest, 3),
	}
	for i := range (n + partSize - 1) / partSize {
		cmd := exec.Command(self, "-role", "part")
		orders, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, in, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		cmd.Stdout = in
		p, err := st.start(fmt.Sprintf("part%d", i+1), cmd)
		_ = in.Close() // the part has its own
		if err != nil {
			return nil, err
		}
		c.all = append(c.all, &part{process: p, orders: orders})
		go c.listen(out)
	}
	return c, nil
}

// listen takes one part's news until it ends.
func (c *parts) listen(out *os.File) {
	defer func() { _ = out.Close() }() // only read
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var n news
		if err := lines.Decode(&n); err != nil {
			return
		}
		if n.Done != "" {
			c.done <- n
			continue
		}
		c.arrived(n.Publication, n.Nanos)
	}
}

// arrived notes that one part has a publication.
func (c *parts) arrived(k int, nanos int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.short[k] == 0 {
		c.short[k] = len(c.all)
	}
	if c.short[k]--; c.short[k] > 0 {
		return
	}
	delete(c.short, k)
	took := (nanos - c.began.UnixNano() - c.place.sent[k].Load()) / 1000
	_ = c.took.RecordValue(min(max(1, took), longest)) // within the bounds
	c.completed <- struct{}{}
}

// tell gives every part an order of its own and waits until all are done.
func (c *parts) tell(make func(i int) order) ([]news, error) {
	for i, p := range c.all {
		if err := json.NewEncoder(p.orders).Encode(make(i)); err != nil {
			return nil, err
		}
	}
	var all []news
	for range c.all {
		select {
		case n := <-c.done:
			if n.Fault != "" {
				return nil, errors.New(n.Fault)
			}
			all = append(all, n)
		case <-time.After(3 * time.Minute):
			return nil, errors.New("a part of the crowd does not answer")
		}
	}
	return all, nil
}

// delivered returns how many publications the members got since they settled.
func (c *parts) delivered() (int64, error) {
	all, err := c.tell(func(int) order { return order{Do: "count"} })
	total := int64(0)
	for _, n := range all {
		total += n.Delivered
	}
	return total, err
}
