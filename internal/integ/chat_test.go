package integ

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"golang.org/x/sync/errgroup"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
	mnssign "github.com/faac1247/rollcall/mns/sign"
)

const (
	mnsKey, mnsSecret = "integ-ak", "integ-sk"
	blocked           = "casino"
	priorities        = 16
)

// The chat document's story from its first step to its last: a chat room is
// created, viewers enter on three nodes, lines of all priorities are sent and
// go through two workers, of which one is killed on the way, as is a node.
// Each surviving viewer sees each line once, no blocked one, and of what one
// worker received at once the higher priorities first. Nothing is left of the
// room when it has been destroyed. In full size:
//
//	go test ./internal/integ -run TestChatRoom -v -integ.viewers=1000 -integ.lines=10000
func TestChatRoom(t *testing.T) {
	t.Parallel()
	alone(t)
	c := startCluster(t, clusterOptions{mns: true})
	c.place(3)
	r := newChatRoom(c)
	r.enter(*viewers)

	first := r.worker(1)
	r.send("first", priorities) // at once, so that they are received together
	r.seen(func(v *viewer) error { return v.inOrder("first", priorities) })

	r.worker(2)
	began := time.Now()
	var sending errgroup.Group
	sending.Go(func() error {
		r.send("line", *lines)
		return nil
	})
	r.seen(func(v *viewer) error { return v.has("line", *lines/5) })
	first.kill()
	r.seen(func(v *viewer) error { return v.has("line", *lines/3) })
	c.kill9(3)
	if err := sending.Wait(); err != nil {
		t.Fatal(err)
	}
	r.survivors()
	r.seen(func(v *viewer) error { return v.exactly("line", *lines) })
	t.Logf("%d viewers, %d of them to the end, saw %d lines each within %s", *viewers, len(r.viewers), *lines, time.Since(began))
	throughout(t, 2*time.Second, func() error { return r.all(func(v *viewer) error { return v.exactly("line", *lines) }) })
	r.destroy()
}

// A voice room has a chat topic: who connects to the chat pipeline with what GET
// answers sees its lines, and so do the room's occupants, on the websocket that
// they have, whatever node the line was published at.
func TestRoomHasAChat(t *testing.T) {
	t.Parallel()
	c := startCluster(t, clusterOptions{mns: true})
	room := c.roomAt(2)
	c.refused(http.MethodGet, 1, "/v1/rooms/"+room+"/chat", nil, 404, "chat_not_found")
	a, b := c.phone(newUser(), 1, phoneOptions{}), c.phone(newUser(), 3, phoneOptions{})
	c.enter(1, room, a.user, host)
	c.enter(1, room, b.user, nil)

	var made, got struct {
		EndPoint  string `json:"end_point"`
		Occupants bool
		Subscribe json.RawMessage
	}
	c.must(http.MethodPut, 1, "/v1/rooms/"+room+"/chat", fields{"occupants": true}, &made)
	c.must(http.MethodGet, 3, "/v1/rooms/"+room+"/chat", nil, &got)
	if !made.Occupants || !got.Occupants || got.EndPoint != "ws://"+at(c.ports[3].mns)+"/mns" {
		t.Errorf("answered %+v, then %+v", made, got)
	}
	v, err := watchWith(at(c.ports[3].mns), got.Subscribe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.leave)

	client, err := mnsclient.New(mnsclient.Config{Endpoint: c.mnsURL(2), KeyID: mnsKey, Secret: mnsSecret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	say := func(line string) {
		t.Helper()
		if _, err := client.Publish(t.Context(), chat.TopicName("room-"+room), mnsclient.Publication{Body: line}); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	eventually(t, 10*time.Second, func() error { // until the viewer is subscribed
		say("hello")
		said++
		return v.has("hello", 1)
	})
	say(`{"user_id":7,"nickname":"Ann","content":"你好 <b>","room_id":"elsewhere"}`)
	for _, p := range []*phone{a, b} {
		eventually(t, 2*time.Second, heardAll([]*phone{p}, "send_topic_msg", said+1))
		heard := p.heard("send_topic_msg")
		if f := heard[0].fields; f["content"] != "hello" {
			t.Errorf("heard %v", f)
		}
		if f := heard[said]; f.number("user_id") != 7 || f.fields["nickname"] != "Ann" || f.fields["content"] != "你好 <b>" || f.fields["room_id"] == "elsewhere" {
			t.Errorf("heard %v", f.fields)
		}
	}
	eventually(t, 2*time.Second, func() error { return v.has("{", 1) })

	c.must(http.MethodPut, 2, "/v1/rooms/"+room+"/chat", fields{"occupants": false}, nil)
	say("for viewers")
	eventually(t, 2*time.Second, func() error { return v.has("for viewers", 1) })
	c.must(http.MethodDelete, 1, "/v1/rooms/"+room+"/chat", nil, nil)
	c.refused(http.MethodGet, 2, "/v1/rooms/"+room+"/chat", nil, 404, "chat_not_found")
	if n := len(a.heard("send_topic_msg")); n != said+1 {
		t.Errorf("an occupant heard %d lines, want %d", n, said+1)
	}
}

// chatRoom is a queue, a topic, and those who watch.
type chatRoom struct {
	*cluster
	name    string
	client  *mnsclient.Client
	before  []string // the pipeline's keys before there was the room
	viewers []*viewer
}

func newChatRoom(c *cluster) *chatRoom {
	c.tb.Helper()
	client, err := mnsclient.New(mnsclient.Config{Endpoint: c.mnsURL(1), KeyID: mnsKey, Secret: mnsSecret})
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tb.Cleanup(client.Close)
	r := &chatRoom{cluster: c, name: "room-" + newRoom(), client: client}
	r.before = r.keys()
	// Lines that a dead worker had come back after this.
	visibility := 6 * time.Second
	ctx := c.tb.Context()
	err = errors.Join(
		client.CreateQueue(ctx, chat.QueueName(r.name), chat.QueueChange{Visibility: &visibility}),
		client.CreateTopic(ctx, chat.TopicName(r.name)),
		client.Subscribe(ctx, chat.TopicName(r.name), chat.Subscription{Name: "viewers", Endpoint: "websocket"}),
	)
	if err != nil {
		c.tb.Fatal(err)
	}
	return r
}

func (n *nodes) mnsURL(i int) string { return "http://" + at(n.ports[i].mns) }

// worker starts a danmaku worker that uses node i.
func (r *chatRoom) worker(i int) *process {
	r.tb.Helper()
	words := filepath.Join(lab.dir, r.name+".words")
	if err := os.WriteFile(words, []byte(blocked+"\n"), 0o600); err != nil {
		r.tb.Fatal(err)
	}
	p, err := startProcess(filepath.Join(lab.dir, r.cluster.name, fmt.Sprintf("worker%d.log", i)), lab.binary, "danmaku",
		"--queue", r.name, "--topic", r.name, "--endpoint", r.mnsURL(i), "--key", mnsKey+":"+mnsSecret, "--words", words)
	if err != nil {
		r.tb.Fatal(err)
	}
	r.tb.Cleanup(func() {
		p.kill()
		if r.tb.Failed() {
			r.tb.Logf("worker %d says:\n%s", i, p.tail())
		}
	})
	return p
}

// send sends n lines of all priorities in turn, and one that is blocked after
// each ten. A viewer can tell a line's number and priority.
func (r *chatRoom) send(kind string, n int) {
	var batch []mnsclient.Outgoing
	flush := func() {
		if err := r.client.SendBatch(r.tb.Context(), chat.QueueName(r.name), batch); err != nil {
			r.tb.Errorf("send: %v", err)
		}
		batch = batch[:0]
	}
	for i, k := range rand.Perm(n) {
		batch = append(batch, mnsclient.Outgoing{Body: fmt.Sprintf("%s %d of %d", kind, k, k%priorities+1), Priority: chat.Priority(k%priorities + 1)})
		if len(batch) == chat.MaxBatch {
			flush()
		}
		if i%10 == 9 && kind != "first" {
			batch = append(batch, mnsclient.Outgoing{Body: fmt.Sprintf("my %s, number %d", strings.ToUpper(blocked), i)})
		}
		if len(batch) == chat.MaxBatch {
			flush()
		}
	}
	if len(batch) > 0 {
		flush()
	}
}

// enter connects n viewers to all nodes in turn.
func (r *chatRoom) enter(n int) {
	r.tb.Helper()
	all := make([]*viewer, n)
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	for k := range all {
		g.Go(func() (err error) {
			all[k], err = watch(at(r.ports[k%3+1].mns), r.name)
			return err
		})
	}
	err := g.Wait()
	for _, v := range all {
		if v != nil {
			r.tb.Cleanup(v.leave)
		}
	}
	if err != nil {
		r.tb.Fatal(err)
	}
	r.viewers = all
	// Subscribing is not answered: a line that everybody sees tells that it is
	// done.
	eventually(r.tb, 20*time.Second, func() error {
		if _, err := r.client.Publish(r.tb.Context(), chat.TopicName(r.name), mnsclient.Publication{Body: "hello"}); err != nil {
			return err
		}
		return r.all(func(v *viewer) error { return v.has("hello", 1) })
	})
}

// survivors forgets the viewers whose node is gone.
func (r *chatRoom) survivors() {
	r.tb.Helper()
	gone := at(r.ports[3].mns)
	r.viewers = slices.DeleteFunc(r.viewers, func(v *viewer) bool { return v.node == gone })
}

// all is the first viewer's reason not to be content, nil for none.
func (r *chatRoom) all(content func(*viewer) error) error {
	for _, v := range r.viewers {
		if err := content(v); err != nil {
			return err
		}
	}
	return nil
}

// seen waits until every viewer is content.
func (r *chatRoom) seen(content func(*viewer) error) {
	r.tb.Helper()
	eventually(r.tb, time.Minute, func() error { return r.all(content) })
}

// destroy ends the room, and fails the test for every key that is left of it.
func (r *chatRoom) destroy() {
	r.tb.Helper()
	ctx := r.tb.Context()
	if err := errors.Join(r.client.DeleteQueue(ctx, chat.QueueName(r.name)), r.client.DeleteTopic(ctx, chat.TopicName(r.name))); err != nil {
		r.tb.Fatal(err)
	}
	eventually(r.tb, 5*time.Second, func() error {
		if left := r.keys(); !slices.Equal(left, r.before) {
			return fmt.Errorf("the store has the keys %v, before the room was made %v", left, r.before)
		}
		return nil
	})
}

// keys are those that the chat pipeline has in Redis now.
func (r *chatRoom) keys() []string {
	r.tb.Helper()
	address, err := url.Parse(lab.redis)
	if err != nil {
		r.tb.Fatal(err)
	}
	out, err := exec.Command("redis-cli", "-h", address.Hostname(), "-p", address.Port(), "--scan", "--pattern", r.cluster.name+":*mns*").Output()
	if err != nil {
		r.tb.Fatalf("redis-cli: %v", err)
	}
	keys := strings.Fields(string(out))
	slices.Sort(keys)
	return keys
}

// viewer is somebody's phone in a chat room.
type viewer struct {
	gws.BuiltinEventHandler

	// set by watch
	node  string
	leave func()

	// guarded by mu
	mu    sync.Mutex
	lines []string
}

// watch connects to a node and subscribes, as the document's apps do.
func watch(node, room string) (*viewer, error) {
	date := time.Now().UTC().Format(http.TimeFormat)
	control, err := json.Marshal(map[string]any{
		"type": "SUBSCRIBE", "accountId": "1234", "accessId": mnsKey, "topic": room, "subscription": "viewers", "date": date,
		"authorization": mnssign.Header(mnsKey, mnssign.Subscribe(mnsSecret, date, room, "viewers")), "tags": []string{},
	})
	if err != nil {
		return nil, err
	}
	return watchWith(node, control)
}

// watchWith is watch with a control message that one was given.
func watchWith(node string, control []byte) (*viewer, error) {
	v := &viewer{node: node}
	conn, err := net.DialTimeout("tcp", node, dialTimeout)
	if err != nil {
		return nil, err
	}
	ws, _, err := gws.NewClientFromConn(v, &gws.ClientOption{Addr: "ws://" + node + "/mns", ReadBufferSize: 512}, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	stop := repeat(10*time.Second, func() { _ = ws.WritePing(nil) }) // a closed socket swallows it
	v.leave = sync.OnceFunc(func() {
		stop()
		_ = conn.Close()
	})
	go ws.ReadLoop()
	return v, ws.WriteMessage(gws.OpcodeText, control)
}

// OnMessage implements gws.Event.
func (v *viewer) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lines = append(v.lines, m.Data.String())
}

// of returns the lines of a kind, in the order in which they came.
func (v *viewer) of(kind string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []string
	for _, line := range v.lines {
		if strings.HasPrefix(line, kind) {
			list = append(list, line)
		}
	}
	return list
}

func (v *viewer) has(kind string, n int) error {
	if got := len(v.of(kind)); got < n {
		return fmt.Errorf("a viewer at %s has %d of %d %q", v.node, got, n, kind)
	}
	return nil
}

// inOrder is nil if the viewer saw each of n lines, the highest priority first.
func (v *viewer) inOrder(kind string, n int) error {
	got := v.of(kind)
	if len(got) != n {
		return v.has(kind, n)
	}
	for i, line := range got {
		if want := fmt.Sprintf("of %d", i+1); !strings.HasSuffix(line, want) {
			return fmt.Errorf("a viewer saw %q at place %d: %q", line, i, got)
		}
	}
	return nil
}

// exactly is nil if the viewer saw each of n lines once, and nothing blocked.
func (v *viewer) exactly(kind string, n int) error {
	times := map[string]int{}
	for _, line := range v.of(kind) {
		if times[line]++; times[line] > 1 {
			return fmt.Errorf("a viewer at %s saw %q twice", v.node, line)
		}
	}
	if len(times) != n {
		return fmt.Errorf("a viewer at %s saw %d lines of %d", v.node, len(times), n)
	}
	if bad := v.of("my "); len(bad) > 0 {
		return fmt.Errorf("a viewer at %s saw %q", v.node, bad)
	}
	return nil
}
