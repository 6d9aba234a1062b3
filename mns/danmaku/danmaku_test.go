package danmaku

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/memory"
	"github.com/faac1247/rollcall/mns/mnsclient"
)

// pipe is a pipeline on a store in memory. It dies at a call of one's choice,
// before or after the call has taken effect, as a worker does that is killed:
// from then on nothing it does has any effect.
type pipe struct {
	*memory.Node
	stage *stage

	mu    sync.Mutex
	calls int
	dieAt int // 0: never
	after bool
	dead  chan struct{}
}

// stage is what viewers see.
type stage struct {
	mu    sync.Mutex
	shown []string
	at    []time.Time
}

func (s *stage) bodies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.shown)
}

func newPipe(n *memory.Node, s *stage) *pipe {
	return &pipe{Node: n, stage: s, dead: make(chan struct{})}
}

var errDead = errors.New("dead")

// call does f, unless the worker dies before, and fails if it dies after.
func (p *pipe) call(f func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.dead:
		return errDead
	default:
	}
	p.calls++
	dies := p.calls == p.dieAt
	if dies && !p.after {
		close(p.dead)
		return errDead
	}
	err := f()
	if dies {
		close(p.dead)
		return errDead
	}
	return err
}

func (p *pipe) Receive(ctx context.Context, q chat.QueueName, n int, wait time.Duration) (out []mnsclient.Message, err error) {
	for end := time.Now().Add(wait); ; {
		err = p.call(func() error {
			got, err := p.Node.Receive(ctx, chat.Receive{Queue: q, Max: n})
			for _, m := range got.Messages {
				out = append(out, mnsclient.Message{
					ID: m.ID, Handle: m.Handle.String(), Body: m.Body, Enqueued: m.Enqueued, Priority: m.Priority,
				})
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(out) > 0 || !time.Now().Before(end) {
			return out, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *pipe) Delete(ctx context.Context, q chat.QueueName, handles []string) (map[string]*chat.Error, error) {
	failed := map[string]*chat.Error{}
	return failed, p.call(func() error {
		for _, text := range handles {
			h, err := chat.ParseHandle(text)
			if err != nil {
				return err
			}
			verdicts, err := p.Node.Delete(ctx, q, []chat.Handle{h})
			if err != nil {
				return err
			}
			if verdicts[0] != nil {
				failed[text] = verdicts[0]
			}
		}
		return nil
	})
}

func (p *pipe) Publish(ctx context.Context, t chat.TopicName, m mnsclient.Publication) (chat.MessageID, error) {
	return "id", p.call(func() error {
		out, err := p.Node.Publish(ctx, chat.Publish{
			Publication: chat.Publication{Topic: t, Body: m.Body, Importance: m.Importance, ID: "id"},
			Once:        m.Once, Memory: 10 * time.Minute,
		})
		if err != nil {
			return err
		}
		if len(out.Before) > 0 {
			return &mnsclient.BeforeError{Names: out.Before}
		}
		p.stage.mu.Lock()
		defer p.stage.mu.Unlock()
		p.stage.shown = append(p.stage.shown, m.Body)
		p.stage.at = append(p.stage.at, time.Now())
		return nil
	})
}

// world is a queue, a topic and its viewers, in virtual time.
type world struct {
	*testing.T
	store *memory.Store
	node  *memory.Node
	stage *stage
	sent  int
}

func bubble(t *testing.T, test func(w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, store: memory.New(), stage: &stage{}}
	w.node = w.store.Node("n1")
	if _, _, err := w.node.CreateQueue(t.Context(), "q", chat.DefaultQueueSettings()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.node.CreateTopic(t.Context(), "t", chat.DefaultTopicSettings()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) send(bodies ...string) {
	w.Helper()
	for _, body := range bodies {
		w.sent++
		d := chat.Draft{ID: chat.MessageID(fmt.Sprintf("ID-%d", w.sent)), Body: body, Priority: 8}
		if _, err := w.node.Send(w.Context(), "q", []chat.Draft{d}); err != nil {
			w.Fatal(err)
		}
	}
}

// start runs a worker; stop ends it and waits.
func (w *world) start(p *pipe, cfg Config) (worker *Worker, stop func()) {
	w.Helper()
	cfg.Pipeline, cfg.Queue, cfg.Topic = p, "q", "t"
	worker, err := New(cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); !errors.Is(err, context.Canceled) {
			w.Errorf("run ended with %v", err)
		}
	})
	return worker, func() { cancel(); running.Wait() }
}

func (w *world) count(worker *Worker, v verdict) int {
	return int(testutil.ToFloat64(worker.metrics.lines.WithLabelValues(string(v))))
}

// settled fails unless the queue is empty and those bodies were shown.
func (w *world) settled(want ...string) {
	w.Helper()
	q, err := w.node.Queue(w.Context(), "q")
	if err != nil || q.Active+q.Inactive != 0 {
		w.Errorf("left in the queue: %+v, %v", q.Counts, err)
	}
	if got := w.stage.bodies(); !slices.Equal(got, want) {
		w.Errorf("shown %q, want %q", got, want)
	}
}

func TestWordsRatesAndMerging(t *testing.T) {
	bubble(t, func(w *world) {
		worker, stop := w.start(newPipe(w.node, w.stage), Config{
			Words: []string{"bad word", "敏感"}, Rate: Rate{2, time.Second}, Merge: time.Second, Publishers: 1,
			Registerer: prometheus.NewRegistry(),
		})
		start := time.Now()
		w.send(`{"text":"hello","uid":1}`, "6666", `{"text":"B A D-ＷＯＲＤ!","uid":2}`, "６６６６", `{"text":"敏 感","uid":3}`,
			`{"text":"two","uid":1}`, `{"text":"three","uid":1}`, " 6666 ")
		time.Sleep(3 * time.Second)
		stop()
		w.settled(`{"text":"hello","uid":1}`, "6666 ×3", `{"text":"two","uid":1}`)
		for v, want := range map[verdict]int{listed: 2, overRate: 1, published: 3, merged: 2} {
			if got := w.count(worker, v); got != want {
				w.Errorf("%d lines are %q, want %d", got, v, want)
			}
		}
		if took := w.stage.at[0].Sub(start); took < time.Second || took > 1100*time.Millisecond {
			w.Errorf("shown after %v", took)
		}
	})
}

func TestWithoutMerging(t *testing.T) {
	bubble(t, func(w *world) {
		_, stop := w.start(newPipe(w.node, w.stage), Config{Publishers: 1})
		w.send("a", "a", "b")
		time.Sleep(100 * time.Millisecond)
		w.settled("a", "a", "b")
		stop()
	})
}

func TestStopSettlesWhatIsHeld(t *testing.T) {
	bubble(t, func(w *world) {
		_, stop := w.start(newPipe(w.node, w.stage), Config{Merge: 10 * time.Second})
		w.send("a", "a")
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		stop()
		if took := time.Since(start); took > time.Second {
			w.Errorf("it took %v to stop", took)
		}
		w.settled("a ×2")
	})
}

// TestCrash kills a worker at each of its calls in turn, before and after the
// call takes effect, and has another one go on. Whatever was sent is shown, and
// counted once.
func TestCrash(t *testing.T) {
	t.Parallel()
	for dieAt := 1; dieAt <= 14; dieAt++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %v", dieAt, after), func(t *testing.T) {
				bubble(t, func(w *world) {
					p := newPipe(w.node, w.stage)
					p.dieAt, p.after = dieAt, after
					_, stop := w.start(p, Config{Merge: 200 * time.Millisecond, Receivers: 1})
					for i := range 6 {
						w.send("same", fmt.Sprintf("line %d", i))
						time.Sleep(70 * time.Millisecond)
					}
					time.Sleep(time.Second)
					stop()
					_, stop = w.start(newPipe(w.node, w.stage), Config{Merge: 200 * time.Millisecond})
					time.Sleep(2 * time.Minute)
					stop()
					if q, err := w.node.Queue(t.Context(), "q"); err != nil || q.Active+q.Inactive > 0 {
						t.Errorf("left in the queue: %+v, %v", q.Counts, err)
					}
					same, others := 0, map[string]int{}
					for _, body := range w.stage.bodies() {
						n := 1
						if _, times, ok := strings.Cut(body, " ×"); ok {
							_, _ = fmt.Sscan(times, &n)
						}
						if strings.HasPrefix(body, "same") {
							same += n
						} else {
							others[body] += n
						}
					}
					if same != 6 || len(others) != 6 {
						t.Errorf("shown %q", w.stage.bodies())
					}
					for body, n := range others {
						if n != 1 {
							t.Errorf("%q was shown %d times", body, n)
						}
					}
				})
			})
		}
	}
}

// TestAnswerLost has publications take effect whose answer never comes.
func TestAnswerLost(t *testing.T) {
	bubble(t, func(w *world) {
		p := &forgetful{pipe: newPipe(w.node, w.stage)}
		worker, err := New(Config{Pipeline: p, Queue: "q", Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(w.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = worker.Run(ctx) })
		w.send("a")
		time.Sleep(10 * time.Second)
		cancel()
		running.Wait()
		w.settled("a")
		if n := w.count(worker, before); n != 1 {
			t.Errorf("%d lines were found published", n)
		}
	})
}

type forgetful struct{ *pipe }

func (f *forgetful) Publish(ctx context.Context, t chat.TopicName, m mnsclient.Publication) (chat.MessageID, error) {
	if _, err := f.pipe.Publish(ctx, t, m); err != nil {
		return "", err
	}
	return "", errors.New("no answer")
}

func TestTopicMissing(t *testing.T) {
	bubble(t, func(w *world) {
		if err := w.node.DeleteTopic(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
		_, stop := w.start(newPipe(w.node, w.stage), Config{})
		w.send("a")
		time.Sleep(time.Minute)
		if _, _, err := w.node.CreateTopic(w.Context(), "t", chat.DefaultTopicSettings()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		w.settled("a")
	})
}

func TestUnsuitableQueue(t *testing.T) {
	bubble(t, func(w *world) {
		short := time.Second
		if err := w.node.ChangeQueue(w.Context(), "q", chat.QueueChange{Visibility: &short}); err != nil {
			t.Fatal(err)
		}
		worker, err := New(Config{Pipeline: newPipe(w.node, w.stage), Queue: "q", Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.Run(w.Context()); err == nil || !strings.Contains(err.Error(), "visibility timeout") {
			t.Errorf("run ended with %v", err)
		}
	})
}

// TestMaxHeld has nothing be published, and sees how much is received.
func TestMaxHeld(t *testing.T) {
	bubble(t, func(w *world) {
		_, stop := w.start(newPipe(w.node, w.stage), Config{MaxHeld: 64, Merge: 10 * time.Second})
		for i := range 200 {
			w.send(fmt.Sprint(i))
		}
		time.Sleep(5 * time.Second)
		if q, err := w.node.Queue(w.Context(), "q"); err != nil || q.Inactive > 64 {
			t.Errorf("%d lines are held, %v", q.Inactive, err)
		}
		time.Sleep(time.Minute)
		stop()
		if n := len(w.stage.bodies()); n != 200 {
			t.Errorf("%d lines were shown", n)
		}
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/ok":
			_, _ = fmt.Fprint(w, `{"drop":["ID-2"]}`)
		case "/slow":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(hook.Close)
	for _, c := range []struct {
		path   string
		strict bool
		want   []string
	}{
		{"/ok", false, []string{"a", "c"}}, {"/bad", false, []string{"a", "b", "c"}}, {"/bad", true, nil},
		{"/slow", false, []string{"a", "b", "c"}},
	} {
		t.Run(fmt.Sprint(c.path, c.strict), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.send("a", "b", "c")
			_, stop := w.start(newPipe(w.node, w.stage), Config{
				Check: hook.URL + c.path, CheckStrict: c.strict, CheckTimeout: 200 * time.Millisecond, Publishers: 1, Receivers: 1,
			})
			deadline := time.After(10 * time.Second)
			for {
				if q, err := w.node.Queue(t.Context(), "q"); err != nil || q.Active+q.Inactive == 0 {
					break
				}
				select {
				case <-deadline:
					t.Fatal("not settled")
				case <-time.After(5 * time.Millisecond):
				}
			}
			stop()
			w.settled(c.want...)
		})
	}
}
