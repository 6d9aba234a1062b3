package mns_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// swarmEnv, in the environment of the test's program, makes it a swarm. It holds
// a job.
const swarmEnv = "MNS_BENCH_SWARM"

// job is what a swarm is to do.
type job struct {
	Address string
	Kind    string // of exchange, see exchange.next
	Clients int
	Queues  int
	Count   int // of operations, in all
}

// outcome is what it did.
type outcome struct {
	Count   int
	Elapsed time.Duration
	CPU     time.Duration
	Err     string
}

// swarm is a lean client of many connections. It is a process of its own, with one thread that waits for all of them,
// so that the benchmark can tell what the server costs.
type swarm struct {
	job    job
	epoll  int
	done   int
	begun  int
	events [128]syscall.EpollEvent
}

// runSwarm is the swarm's process: it says when it is connected, begins when it
// is told to, and says what came of it.
func runSwarm(text string) int {
	s := &swarm{}
	err := json.Unmarshal([]byte(text), &s.job)
	var out outcome
	if err == nil {
		out, err = s.run()
	}
	if err != nil {
		out.Err = err.Error()
	}
	if json.NewEncoder(os.Stdout).Encode(out) != nil || err != nil {
		return 1
	}
	return 0
}

func (s *swarm) run() (outcome, error) {
	var err error
	if s.epoll, err = syscall.EpollCreate1(0); err != nil {
		return outcome{}, err
	}
	at, err := net.ResolveTCPAddr("tcp4", s.job.Address)
	if err != nil {
		return outcome{}, err
	}
	talks := map[int32]*talk{}
	for i := range s.job.Clients {
		fd, err := s.connect(at)
		if err != nil {
			return outcome{}, fmt.Errorf("connection %d: %w", i, err)
		}
		talks[fd] = &talk{fd: int(fd), signer: newRequests(), in: make([]byte, 0, 32<<10), exchange: newExchange(s.job, i)}
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return outcome{}, err
	}
	before, start := ownTime(), time.Now()
	err = s.serve(talks)
	return outcome{Count: s.done, Elapsed: time.Since(start), CPU: ownTime() - before}, err
}

func (s *swarm) connect(at *net.TCPAddr) (int32, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	to := &syscall.SockaddrInet4{Port: at.Port}
	copy(to.Addr[:], at.IP.To4())
	if err := errors.Join(syscall.Connect(fd, to), syscall.SetNonblock(fd, true),
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)); err != nil {
		return 0, err
	}
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return int32(fd), syscall.EpollCtl(s.epoll, syscall.EPOLL_CTL_ADD, fd, &e)
}

// serve has the operations done.
func (s *swarm) serve(talks map[int32]*talk) error {
	for _, t := range talks {
		if err := s.ask(t, 0, nil); err != nil {
			return err
		}
	}
	for s.done < s.job.Count {
		n, err := syscall.EpollWait(s.epoll, s.events[:], 20_000)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("nothing came after %d operations: %w", s.done, errors.Join(err, os.ErrDeadlineExceeded))
		}
		for _, e := range s.events[:n] {
			t := talks[e.Fd]
			status, body, err := t.hear()
			if err == nil && status != 0 {
				err = s.ask(t, status, body)
			}
			if err != nil {
				return fmt.Errorf("after %d operations: %w", s.done, err)
			}
		}
	}
	return nil
}

// ask sends the next requests of a talk, unless enough operations have begun.
func (s *swarm) ask(t *talk, status int, body []byte) error {
	request, done, err := t.next(t.signer, status, body)
	if err != nil {
		return err
	}
	s.done += done
	if done > 0 || status == 0 {
		if s.begun >= s.job.Count {
			return nil
		}
		s.begun += t.per
	}
	t.in = t.in[:0]
	n, err := syscall.Write(t.fd, request)
	if err == nil && n < len(request) {
		err = io.ErrShortWrite
	}
	return err
}

// talk is one connection.
type talk struct {
	*exchange
	fd     int
	signer *requests
	in     []byte
}

// hear reads what is there; status is 0 until the answer is there whole. Of
// several answers it is the last, once all others are as they should be.
func (t *talk) hear() (status int, body []byte, err error) {
	n, err := syscall.Read(t.fd, t.in[len(t.in):cap(t.in)])
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return 0, nil, nil
	case err != nil:
		return 0, nil, err
	case n == 0:
		return 0, nil, io.ErrUnexpectedEOF
	}
	t.in = t.in[:len(t.in)+n]
	for len(t.ahead) > 0 {
		status, body := parseAnswer(t.in)
		if status == 0 {
			return 0, nil, nil
		}
		if status != t.ahead[0] {
			return 0, nil, fmt.Errorf("answered %d %s", status, body)
		}
		t.ahead = t.ahead[1:]
		rest := t.in[bytes.Index(t.in, []byte("\r\n\r\n"))+4+len(body):]
		t.in = t.in[:copy(t.in, rest)]
	}
	status, body = parseAnswer(t.in)
	return status, body, nil
}

// exchange is what one connection says, over and over.
type exchange struct {
	kind   string
	per    int // operations at once
	target string
	step   int // of a cycle
	left   int // messages of a batch to be deleted
	gone   int // those that are about to be
	// ahead are the answers that come before the one that is waited for.
	ahead []int

	send, batch string
	burst       []byte
}

func newExchange(j job, i int) *exchange {
	e := &exchange{kind: j.Kind, per: 1, target: fmt.Sprintf("/queues/q%d/messages", i%j.Queues), send: message(body200, "")}
	if j.Kind == kindBatch {
		e.per, e.batch = 16, "<Messages>"+strings.Repeat(message(body200, ""), 16)+"</Messages>"
	}
	if j.Kind == kindSendAhead {
		e.per = sendsAhead
	}
	return e
}

// The kinds of exchanges: to send; to send, receive and delete; the same with 16
// messages at once. Ahead means that requests leave together which need not wait
// for each other: eight to send; and one to delete, the next to send and the
// next to receive.
const (
	kindSend       = "send"
	kindSendAhead  = "send ahead"
	kindCycle      = "cycle"
	kindCycleAhead = "cycle ahead"
	kindBatch      = "batch"
)

const sendsAhead = 8

var (
	afterSends  = slices.Repeat([]int{201}, sendsAhead-1)
	afterDelete = []int{204, 201}
)

// nextAhead is next for those who ask ahead.
func (e *exchange) nextAhead(r *requests, status int, body []byte) (request []byte, done int, err error) {
	if e.kind == kindSendAhead {
		if status == 201 {
			done = sendsAhead
		} else if status != 0 {
			return nil, 0, fmt.Errorf("answered %d %s", status, body)
		}
		e.ahead, e.burst = afterSends, e.burst[:0]
		for range sendsAhead {
			e.burst = append(e.burst, r.request("POST", e.target, e.send)...)
		}
		return e.burst, done, nil
	}
	e.ahead, e.burst = afterDelete[1:], e.burst[:0]
	if status == 200 {
		if e.step > 0 {
			done = 1
		}
		e.step = 1
		e.ahead = afterDelete
		e.burst = append(e.burst, r.request("DELETE", e.target+"?ReceiptHandle="+handles(body)[0], "")...)
	} else if status != 0 {
		return nil, 0, fmt.Errorf("answered %d %s", status, body)
	}
	e.burst = append(e.burst, r.request("POST", e.target, e.send)...)
	return append(e.burst, r.request("GET", e.target+"?waitseconds=10", "")...), done, nil
}

// statuses are the answers to the steps of a cycle.
var statuses = [3]int{201, 200, 204}

// next returns what to send after an answer, and how many operations that ended.
// Status 0 begins.
func (e *exchange) next(r *requests, status int, body []byte) (request []byte, done int, err error) {
	if e.kind == kindSendAhead || e.kind == kindCycleAhead {
		return e.nextAhead(r, status, body)
	}
	if status != 0 && status != statuses[e.step] {
		return nil, 0, fmt.Errorf("step %d was answered %d %s", e.step, status, body)
	}
	if e.kind == kindSend {
		if status != 0 {
			done = 1
		}
		return r.request("POST", e.target, e.send), done, nil
	}
	if status != 0 {
		e.step = (e.step + 1) % len(statuses)
	}
	if e.kind == kindBatch {
		return e.nextOfBatch(r, status, body)
	}
	switch e.step {
	case 1:
		return r.request("GET", e.target+"?waitseconds=10", ""), 0, nil
	case 2:
		return r.request("DELETE", e.target+"?ReceiptHandle="+handles(body)[0], ""), 0, nil
	}
	if status != 0 {
		done = 1
	}
	return r.request("POST", e.target, e.send), done, nil
}

func (e *exchange) nextOfBatch(r *requests, status int, body []byte) (request []byte, done int, err error) {
	switch {
	case e.step == 1:
		e.left = 16
	case e.step == 2:
		hs := handles(body)
		e.gone = len(hs)
		return r.request("DELETE", e.target, "<ReceiptHandles><ReceiptHandle>"+strings.Join(hs, "</ReceiptHandle><ReceiptHandle>")+
			"</ReceiptHandle></ReceiptHandles>"), 0, nil
	case status != 0:
		if e.left -= e.gone; e.left > 0 {
			e.step = 1
		} else {
			done = 16
		}
	}
	if e.step == 1 {
		return r.request("GET", e.target+"?waitseconds=10&numOfMessages="+strconv.Itoa(e.left), ""), 0, nil
	}
	return r.request("POST", e.target, e.batch), done, nil
}

// drive has a swarm do b.N operations at a node.
func drive(b *testing.B, r *rig, unit, kind string, queues int) {
	b.Helper()
	j := job{Address: strings.TrimPrefix(r.nodes[0].url, "http://"), Kind: kind, Clients: benchClients, Queues: queues, Count: b.N}
	text, err := json.Marshal(j)
	if err != nil {
		b.Fatal(err)
	}
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), swarmEnv+"="+string(text), "GOGC=400")
	program.Stderr = os.Stderr
	in, err1 := program.StdinPipe()
	out, err2 := program.StdoutPipe()
	if err := errors.Join(err1, err2, program.Start()); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = program.Wait() }()
	words := bufio.NewReader(out)
	if _, err := words.ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	own, redis := cpuTime(b)
	if _, err := io.WriteString(in, "go\n"); err != nil {
		b.Fatal(err)
	}
	var did outcome
	err = json.NewDecoder(words).Decode(&did)
	b.StopTimer()
	ownAfter, redisAfter := cpuTime(b)
	if err != nil || did.Err != "" {
		b.Fatalf("%v %s", err, did.Err)
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(did.Count) }
	b.ReportMetric(float64(did.Count)/did.Elapsed.Seconds(), unit)
	b.ReportMetric(per(ownAfter-own), "server-cpu-us/op")
	b.ReportMetric(per(redisAfter-redis), "redis-cpu-us/op")
	b.ReportMetric(per(did.CPU), "client-cpu-us/op")
}
