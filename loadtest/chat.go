package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/danmaku"
	"github.com/faac1247/rollcall/mns/mnsclient"
	"github.com/faac1247/rollcall/mns/sign"
	"github.com/faac1247/rollcall/protocol"
)

// The names that the chat pipeline's load goes by.
const (
	chatQueue        = chat.QueueName("load-lines")
	chatTopic        = chat.TopicName("load-lines")
	chatSubscription = chat.SubscriptionName("load-lines")
)

const (
	// chatPing is how often a viewer shows that it is there.
	chatPing = 15 * time.Second
	// maxPushed bounds a pushed line.
	maxPushed = 128 << 10
	// drainTime is how long lines may take from the queue once the run is over.
	drainTime = 30 * time.Second
)

// audience is a swarm of viewers of the chat pipeline: lines go into a queue, one
// worker takes them through filter and topic, and every viewer gets them pushed.
type audience struct {
	// set by newAudience
	swarm   *swarm
	api     *mnsclient.Client
	address *url.URL
	viewers []*viewer
}

func newAudience(s *swarm) (*audience, error) {
	id, secret, _ := strings.Cut(s.set.MNSKey, ":")
	transport := &http.Transport{MaxIdleConnsPerHost: workers, MaxConnsPerHost: 2 * workers}
	api, err := mnsclient.New(mnsclient.Config{Endpoint: s.set.MNS, KeyID: id, Secret: secret, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.set.MNS)
	if err != nil {
		return nil, fmt.Errorf("--mns: %w", err)
	}
	u.Scheme, u.Path = strings.Replace(u.Scheme, "http", "ws", 1), "/mns"
	a := &audience{swarm: s, api: api, address: u}
	for i := s.index; i < s.set.Clients; i += s.of {
		a.viewers = append(a.viewers, &viewer{audience: a, number: i})
	}
	return a, nil
}

// run keeps the viewers watching until ctx ends.
func (a *audience) run(ctx context.Context) {
	var running sync.WaitGroup
	if a.swarm.index == 0 {
		running.Go(func() { a.work(ctx) })
	}
	running.Go(func() { a.ping(ctx) })
	start := time.Now()
	for k, v := range a.viewers {
		due := start.Add(time.Duration(float64(k*a.swarm.of+a.swarm.index) / a.swarm.set.ConnectRate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			break
		}
		running.Go(func() { v.run(ctx) })
	}
	<-ctx.Done()
	running.Wait()
	if a.swarm.index == 0 {
		a.clear()
	}
	a.api.Close()
}

// furnish makes what the pipeline needs. That it is there is no error.
func (a *audience) furnish(ctx context.Context) error {
	err := errors.Join(
		a.api.CreateQueue(ctx, chatQueue, chat.QueueChange{}),
		a.api.CreateTopic(ctx, chatTopic),
		a.api.Subscribe(ctx, chatTopic, chat.Subscription{Name: chatSubscription, Endpoint: "websocket"}),
	)
	if err != nil {
		return fmt.Errorf("make queue and topic: %w", err)
	}
	return nil
}

func (a *audience) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = errors.Join(a.api.DeleteQueue(ctx, chatQueue), a.api.DeleteTopic(ctx, chatTopic)) // the next run makes do with what is left
}

// work is the pipeline's worker, as "rollcall danmaku" runs it.
func (a *audience) work(ctx context.Context) {
	w, err := danmaku.New(danmaku.Config{Pipeline: a.api, Queue: chatQueue, Topic: chatTopic, Rate: danmaku.Rate{Lines: 100, Per: time.Second}})
	if err == nil {
		err = w.Run(ctx)
	}
	if ctx.Err() == nil {
		a.swarm.failed("chat worker", err)
	}
}

// ping shows that all viewers are there, one after the other.
func (a *audience) ping(ctx context.Context) {
	for k := 0; len(a.viewers) > 0; k++ {
		if !sleepUntil(ctx, time.Now().Add(chatPing/time.Duration(len(a.viewers)))) {
			return
		}
		if ws := a.viewers[k%len(a.viewers)].socket.Load(); ws != nil {
			_ = ws.WritePing([]byte("load")) // the reader learns of an error
		}
	}
}

// watching returns how many viewers are connected.
func (a *audience) watching() int {
	n := 0
	for _, v := range a.viewers {
		if v.socket.Load() != nil {
			n++
		}
	}
	return n
}

// drained waits until the queue is empty.
func (a *audience) drained(ctx context.Context) {
	for limit := time.Now().Add(drainTime); time.Now().Before(limit); {
		if q, err := a.api.Queue(ctx, chatQueue); err == nil && q.Active+q.Inactive+q.Delayed == 0 {
			return
		}
		if !sleepUntil(ctx, time.Now().Add(200*time.Millisecond)) {
			return
		}
	}
	a.swarm.failed("chat", errNotDrained)
}

var errNotDrained = errors.New("lines are left in the queue")

// shout has viewers send lines.
func shout(ctx context.Context, s *swarm, start, end time.Time) {
	each(ctx, s, start, end, s.set.Rate, func(due time.Time) {
		began := time.Now()
		body, err := json.Marshal(map[string]any{
			"type": 1, "time": due.UnixMilli(),
			"data": map[string]any{"content": stamped(due, s.set.Size), "userId": s.set.user(rand.IntN(s.set.Clients))},
		})
		if err == nil {
			_, err = s.audience.api.Send(ctx, chatQueue, mnsclient.Outgoing{Body: string(body)})
		}
		if err != nil {
			s.failed("send line", err)
			return
		}
		s.rec.took(mPublish, began, time.Now())
		s.rec.count(cSent, 1)
	})
	if s.index == 0 {
		s.audience.drained(ctx)
	}
}

// viewer is one websocket that lines are pushed to.
type viewer struct {
	gws.BuiltinEventHandler
	audience *audience
	number   int
	socket   atomic.Pointer[gws.Conn]
}

// run watches until ctx ends, and comes back when the connection breaks.
func (v *viewer) run(ctx context.Context) {
	s := v.audience.swarm
	for ctx.Err() == nil {
		if err := v.watch(ctx); ctx.Err() == nil {
			s.rec.count(cFailed, 1)
			s.note("watch", err)
		}
		if !sleepUntil(ctx, time.Now().Add(time.Second/2+rand.N(time.Second))) {
			return
		}
	}
}

// watch makes one connection and sees it to its end.
func (v *viewer) watch(ctx context.Context) error {
	s, began := v.audience.swarm, time.Now()
	conn, err := s.dial(ctx, v.number, "tcp", v.audience.address.Host)
	if err != nil {
		return err
	}
	ws, _, err := gws.NewClientFromConn(v, &gws.ClientOption{
		Addr: v.audience.address.String(), HandshakeTimeout: 10 * time.Second, ReadBufferSize: 512, ReadMaxPayloadSize: maxPushed,
	}, conn)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	id, secret, _ := strings.Cut(s.set.MNSKey, ":")
	control, err := json.Marshal(map[string]any{
		"type": "SUBSCRIBE", "accountId": "load", "accessId": id, "topic": chatTopic, "subscription": chatSubscription, "date": date,
		"authorization": sign.Header(id, sign.Subscribe(secret, date, string(chatTopic), string(chatSubscription))), "tags": []string{},
	})
	if err != nil {
		return err
	}
	if err := ws.WriteMessage(gws.OpcodeText, control); err != nil {
		return err
	}
	s.rec.count(cConnected, 1)
	s.rec.took(mConnect, began, time.Now())
	v.socket.Store(ws)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	ws.ReadLoop()
	v.socket.Store(nil)
	if stop() {
		s.rec.count(cBroken, 1)
	}
	return errClosed
}

var errClosed = errors.New("closed by the server")

// OnMessage implements gws.Event.
func (v *viewer) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }() // gives the buffer back; there is no error to have
	now, s := time.Now(), v.audience.swarm
	o, err := protocol.ParseObject(m.Bytes())
	if err != nil {
		s.rec.count(cMalformed, 1)
		return
	}
	s.rec.count(cDelivered, 1)
	if data, ok := o.Field("data").Object(); ok {
		if due, ok := stamp(data, "content"); ok {
			s.rec.took(mDeliver, due, now)
		}
	}
}
