package mns_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/bridge"
	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
	"github.com/faac1247/rollcall/mns/sign"
	"github.com/faac1247/rollcall/mns/wire"
)

// redisServer is the one that the tests of this package share, each under a
// prefix of its own.
var redisServer struct {
	once    sync.Once
	process *exec.Cmd
	dir     string
	url     string
	err     error
}

var prefixes atomic.Int64

func TestMain(m *testing.M) {
	if text := os.Getenv(swarmEnv); text != "" {
		os.Exit(runSwarm(text))
	}
	code := m.Run()
	if p := redisServer.process; p != nil {
		_ = p.Process.Kill()
		_ = p.Wait()
		_ = os.RemoveAll(redisServer.dir)
	}
	os.Exit(code)
}

// redisURL starts the server if it is not running yet.
func redisURL(t testing.TB) string {
	t.Helper()
	redisServer.once.Do(func() { redisServer.err = startRedis() })
	if redisServer.err != nil {
		t.Fatal(redisServer.err)
	}
	return redisServer.url
}

func startRedis() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is not installed: apt-get install redis-server")
	}
	if redisServer.dir, err = os.MkdirTemp("", "mns-redis"); err != nil {
		return err
	}
	for range 10 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		p := exec.Command(path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--dir", redisServer.dir)
		if err := p.Start(); err != nil {
			return err
		}
		redisServer.process, redisServer.url = p, fmt.Sprintf("redis://127.0.0.1:%d", port)
		if answers(port) {
			return nil
		}
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	return errors.New("redis-server did not start")
}

func answers(port int) bool {
	client := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port), MaxRetries: 100, MaxRetryBackoff: 50 * time.Millisecond})
	defer client.Close()
	return client.Ping(context.Background()).Err() == nil
}

const (
	keyID, secret = "ak", "sk"
	limitedKey    = "limited:lsk:send@queues/room-;receive+publish@topics/room-"
)

// rig is a cluster of servers on one store, reached over real sockets.
type rig struct {
	testing.TB
	prefix string
	nodes  []*rigNode
}

type rigNode struct {
	server *mns.Server
	store  *bridge.MNS
	url    string // without a slash at the end
	client *mnsclient.Client
	stop   func()
}

// newRig starts two nodes. Each change is made to every node's settings.
func newRig(t testing.TB, changes ...func(*mns.Config)) *rig {
	t.Helper()
	r := &rig{TB: t, prefix: fmt.Sprintf("t%d", prefixes.Add(1))}
	for range 2 {
		r.start(changes...)
	}
	return r
}

// start starts a node.
func (r *rig) start(changes ...func(*mns.Config)) *rigNode {
	r.Helper()
	store, err := bridge.Open(bridge.Config{URL: redisURL(r), Prefix: r.prefix, Timeout: 5 * time.Second})
	if err != nil {
		r.Fatal(err)
	}
	n := &rigNode{store: bridge.NewMNS(store, fmt.Sprintf("n%d", len(r.nodes)+1))}
	limited, err := mns.ParseKey(limitedKey)
	if err != nil {
		r.Fatal(err)
	}
	cfg := mns.Config{Store: n.store, Keys: []mns.Key{{ID: keyID, Secret: secret}, {ID: "sts", Secret: "ssk", Token: "token"}, limited}}
	for _, change := range changes {
		change(&cfg)
	}
	if n.server, err = mns.New(cfg); err != nil {
		r.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	web := n.server.HTTPServer()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := n.server.Run(ctx); !errors.Is(err, context.Canceled) {
			r.Errorf("run ended with %v", err)
		}
	})
	running.Go(func() { _ = web.Serve(l) })
	n.url = "http://" + l.Addr().String()
	n.stop = sync.OnceFunc(func() {
		cancel()
		_ = web.Close()
		running.Wait()
		_ = store.Disconnect()
	})
	r.Cleanup(n.stop)
	if n.client, err = mnsclient.New(mnsclient.Config{Endpoint: n.url, KeyID: keyID, Secret: secret}); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(n.client.Close)
	r.nodes = append(r.nodes, n)
	return n
}

// reply is what a request was answered.
type reply struct {
	status int
	header http.Header
	body   string
	node   *wire.Node
	took   time.Duration
}

// text returns a child of the outermost element.
func (r *reply) text(name string) string {
	if r.node == nil {
		return ""
	}
	if c := r.node.Child(name); c != nil {
		return c.Text
	}
	return ""
}

func (r *reply) millis(name string) int64 {
	n, _ := strconv.ParseInt(r.text(name), 10, 64)
	return n
}

// change changes a request before (or after) it is signed.
type change func(*http.Request)

func header(name, value string) change { return func(r *http.Request) { r.Header.Set(name, value) } }

func noHeader(name string) change { return func(r *http.Request) { r.Header[name] = nil } }

// signedBy signs with another key.
func signedBy(id, secret string) change {
	return func(r *http.Request) {
		r.Header.Set("Authorization", sign.Header(id, sign.V2(secret, sign.Request{
			Method: r.Method, Target: r.URL.RequestURI(), Header: r.Header,
		})))
	}
}

// ask makes a request to the first node.
func (r *rig) ask(method, target, body string, changes ...change) *reply {
	r.Helper()
	return r.askAt(0, method, target, body, changes...)
}

// askAt makes a request as the SDKs do, signs it after the changes unless one
// of them did, and sends it.
func (r *rig) askAt(node int, method, target, body string, changes ...change) *reply {
	r.Helper()
	request := newRequest(r, method, r.nodes[node].url+target, body, changes...)
	start := time.Now()
	response, err := httpClient.Do(request)
	if err != nil {
		r.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.Fatalf("%s %s: %v", method, target, err)
	}
	return newReply(r, response.StatusCode, response.Header, string(text), time.Since(start))
}

var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

func newRequest(t testing.TB, method, url, body string, changes ...change) *http.Request {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	h := request.Header
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Set("X-Mns-Version", "2015-06-06")
	h.Set("Content-Type", "text/xml;charset=UTF-8")
	for _, c := range changes {
		c(request)
	}
	if _, ok := h["Authorization"]; !ok {
		signedBy(keyID, secret)(request)
	}
	return request
}

// newReply checks what every answer must be like.
func newReply(t testing.TB, status int, h http.Header, body string, took time.Duration) *reply {
	t.Helper()
	out := &reply{status: status, header: h, body: body, took: took}
	if id := h.Get("X-Mns-Request-Id"); len(id) != 24 || strings.Trim(id, "0123456789ABCDEF") != "" {
		t.Errorf("request id %q", id)
	}
	if v := h.Get("X-Mns-Version"); v != "2015-06-06" {
		t.Errorf("version %q", v)
	}
	if body == "" {
		return out
	}
	if ct := h.Get("Content-Type"); ct != "text/xml;charset=utf-8" {
		t.Errorf("content type %q", ct)
	}
	var err error
	if out.node, err = wire.Parse([]byte(body)); err != nil {
		t.Fatalf("answer %q is not XML: %v", body, err)
	}
	if !strings.Contains(body, ` xmlns="http://mns.aliyuncs.com/doc/v1">`) {
		t.Errorf("answer %q has another namespace", body)
	}
	return out
}

// wants fails unless the answer has the status and, for a fault, the code.
func (r *rig) wants(got *reply, status int, code string) *reply {
	r.Helper()
	if got.status != status || code != "" && got.text("Code") != code {
		r.Fatalf("answered %d %s, want %d %s", got.status, got.body, status, code)
	}
	return got
}

func (r *rig) createQueue(name, attributes string) {
	r.Helper()
	r.wants(r.ask("PUT", "/queues/"+name, "<Queue>"+attributes+"</Queue>"), 201, "")
}

func (r *rig) createTopic(name string) {
	r.Helper()
	r.wants(r.ask("PUT", "/topics/"+name, "<Topic/>"), 201, "")
}

// send sends a body with further elements to a queue.
func (r *rig) send(q, body, more string) *reply {
	r.Helper()
	return r.wants(r.ask("POST", "/queues/"+q+"/messages", message(body, more)), 201, "")
}

func message(body, more string) string {
	var b bytes.Buffer
	b.WriteString("<Message><MessageBody>")
	b.Write(wire.AppendText(nil, body))
	b.WriteString("</MessageBody>" + more + "</Message>")
	return b.String()
}

// receive receives one message, at another node than send sends.
func (r *rig) receive(q string) *reply {
	r.Helper()
	return r.wants(r.askAt(1, "GET", "/queues/"+q+"/messages?waitseconds=0", ""), 200, "")
}

// empty fails if there is something to receive.
func (r *rig) empty(q string) {
	r.Helper()
	r.wants(r.ask("GET", "/queues/"+q+"/messages?waitseconds=0", ""), 404, "MessageNotExist")
}

// counts compares active, inactive and delayed messages.
func (r *rig) counts(q string, want string) {
	r.Helper()
	g := r.wants(r.ask("GET", "/queues/"+q, ""), 200, "")
	if got := g.text("ActiveMessages") + " " + g.text("InactiveMessages") + " " + g.text("DelayMessages"); got != want {
		r.Fatalf("queue %s holds %s, want %s (active, inactive, delayed)", q, got, want)
	}
}

// eventually waits for a condition.
func (r *rig) eventually(what string, check func() bool) {
	r.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		if time.Now().After(deadline) {
			r.Fatalf("%s: not within 10 s", what)
		}
		<-tick.C
	}
}

// background runs a request and returns where its answer comes.
func (r *rig) background(node int, target string) chan *reply {
	out := make(chan *reply, 1)
	go func() { out <- r.askAt(node, "GET", target, "") }()
	return out
}

// waiting waits until so many receivers wait for a queue at a node.
func (r *rig) waiting(node int, q chat.QueueName, n int) {
	r.Helper()
	r.eventually(fmt.Sprintf("%d wait for %s at node %d", n, q, node), func() bool {
		return r.nodes[node].server.Waiting(q) == n
	})
}

// storeQueue makes a queue with settings that the interface does not let one
// make.
func (r *rig) storeQueue(name chat.QueueName, set func(*chat.QueueSettings)) {
	r.Helper()
	s := chat.DefaultQueueSettings()
	set(&s)
	if _, _, err := r.nodes[0].store.CreateQueue(r.Context(), name, s); err != nil {
		r.Fatal(err)
	}
}

// keys returns what the rig has in the store, what the server itself needs
// aside.
func (r *rig) keys() []string {
	r.Helper()
	options, err := redis.ParseURL(redisURL(r))
	if err != nil {
		r.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	var left []string
	all := client.Scan(r.Context(), 0, r.prefix+":*", 1000).Iterator()
	for all.Next(r.Context()) {
		if !strings.Contains(all.Val(), string(chat.DeliveryQueue)) {
			left = append(left, all.Val())
		}
	}
	if err := all.Err(); err != nil {
		r.Fatal(err)
	}
	return left
}
