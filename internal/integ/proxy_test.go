package integ

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// proxy stands between nodes and a redis-server. It has a door for each node,
// knows what passes, and can lose an answer, or change the server.
type proxy struct {
	// set by newProxy
	t  *testing.T
	wg sync.WaitGroup

	// guarded by mu
	mu      sync.Mutex
	closing bool
	target  string // host:port
	doors   map[int]net.Listener
	conns   map[net.Conn]bool
	sources map[string]string // scripts by their digest, as they passed
	trap    *trap
}

// trap waits for a command at a door. Its answer is lost.
type trap struct {
	door   int
	match  func(*command) bool
	strike func() // what happens once the command has been done; may be nil
	sprung chan struct{}
}

// command is what a node asks of Redis.
type command struct {
	words  []string
	source string // of the script that it runs, if it does
}

func newProxy(t *testing.T, url string) *proxy {
	p := &proxy{t: t, doors: map[int]net.Listener{}, conns: map[net.Conn]bool{}, sources: map[string]string{}}
	p.target = strings.TrimPrefix(url, "redis://")
	t.Cleanup(func() {
		p.mu.Lock()
		p.closing = true
		for _, l := range p.doors {
			_ = l.Close()
		}
		p.mu.Unlock()
		p.cut()
		p.wg.Wait()
	})
	return p
}

// door returns the URL of Redis for node i.
func (p *proxy) door(i int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doors[i] == nil {
		l, err := net.Listen("tcp", at(lab.ports.next()))
		if err != nil {
			panic(fmt.Sprintf("no door for node %d: %v", i, err))
		}
		p.doors[i] = l
		p.wg.Go(func() { p.serve(i, l) })
	}
	return "redis://" + p.doors[i].Addr().String()
}

// lead sends all to another server, and ends what there was with the former.
func (p *proxy) lead(url string) {
	p.mu.Lock()
	p.target = strings.TrimPrefix(url, "redis://")
	p.mu.Unlock()
	p.cut()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// lose has the answer to the next matching command of node i lost: Redis does
// it, something may strike, the connection ends. The channel is closed then.
func (p *proxy) lose(i int, match func(*command) bool, strike func()) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = &trap{door: i, match: match, strike: strike, sprung: make(chan struct{})}
	return p.trap.sprung
}

func (p *proxy) serve(door int, l net.Listener) {
	for {
		node, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		redis, err := net.Dial("tcp", target)
		if err != nil {
			_ = node.Close()
			continue
		}
		if !p.keep(node, redis) {
			return
		}
		pair := &pair{proxy: p, door: door, node: node, redis: redis}
		p.wg.Go(pair.ask)
		p.wg.Go(pair.answer)
	}
}

// keep notes connections, unless it is over.
func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closing {
			_ = c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.closing
}

// caught returns the trap that a command of a door falls into, once.
func (p *proxy) caught(door int, c *command) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch strings.ToLower(c.words[0]) {
	case "eval":
		sum := sha1.Sum([]byte(c.words[1]))
		p.sources[hex.EncodeToString(sum[:])] = c.words[1]
		c.source = c.words[1]
	case "evalsha":
		c.source = p.sources[c.words[1]]
	}
	t := p.trap
	if t == nil || t.door != door || !t.match(c) {
		return nil
	}
	p.trap = nil
	return t
}

// pair is a node's connection and the one to Redis that it goes on in.
type pair struct {
	*proxy
	door        int
	node, redis net.Conn

	// guarded by held
	held   sync.Mutex
	caught *trap
}

func (p *pair) close() {
	_ = p.node.Close()
	_ = p.redis.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, p.node)
	delete(p.conns, p.redis)
}

// mark is what Redis is asked to say after a command whose answer is lost: all
// before it in the connection has been done then.
const mark = "answers-end-here"

// ask carries a node's commands, as many at a time as have come.
func (p *pair) ask() {
	defer p.close()
	from, to := bufio.NewReaderSize(p.node, 64<<10), bufio.NewWriterSize(p.redis, 64<<10)
	for {
		if from.Buffered() == 0 && to.Flush() != nil {
			return
		}
		c, raw, err := readCommand(from)
		if err != nil {
			return
		}
		if t := p.proxy.caught(p.door, c); t != nil {
			p.held.Lock()
			p.caught = t
			p.held.Unlock()
			raw = fmt.Appendf(raw, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(mark), mark)
		}
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

// answer carries Redis' answers, until one is to be lost.
func (p *pair) answer() {
	defer p.close()
	buffer := make([]byte, 64<<10)
	var lost []byte
	for {
		n, err := p.redis.Read(buffer)
		if err != nil {
			return
		}
		p.held.Lock()
		t := p.caught
		p.held.Unlock()
		if t == nil {
			if _, err := p.node.Write(buffer[:n]); err != nil {
				return
			}
			continue
		}
		if lost = append(lost, buffer[:n]...); bytes.Contains(lost, []byte(mark)) {
			if t.strike != nil {
				t.strike()
			}
			close(t.sprung)
			return
		}
	}
}

// readCommand reads one command, and returns it as it was too.
func readCommand(from *bufio.Reader) (*command, []byte, error) {
	var raw []byte
	number := func(kind byte) (int, error) {
		line, err := from.ReadString('\n')
		raw = append(raw, line...)
		if err != nil {
			return 0, err
		}
		if line[0] != kind {
			return 0, fmt.Errorf("%q is no command", line)
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	count, err := number('*')
	if err != nil {
		return nil, nil, err
	}
	c := &command{}
	for range count {
		size, err := number('$')
		if err != nil {
			return nil, nil, err
		}
		word := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(from, word); err != nil {
			return nil, nil, err
		}
		raw = append(raw, word...)
		c.words = append(c.words, string(word[:size]))
	}
	return c, raw, nil
}

// script matches calls of a script, known by a line of its source, one of whose
// words contains some text.
func script(line, text string) func(*command) bool {
	return func(c *command) bool {
		return strings.Contains(c.source, line) &&
			slices.ContainsFunc(c.words[2:], func(w string) bool { return strings.Contains(w, text) })
	}
}
