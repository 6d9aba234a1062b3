package bridge

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// listener collects what a subscription hands over.
type listener struct {
	messages chan string
	renewed  chan struct{}
	ended    chan error
	stop     context.CancelFunc
}

// listen runs a subscription until the test ends, and waits until it stands.
func listen(t testing.TB, subscribe func(context.Context, func([]byte), func()) error) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{
		messages: make(chan string, 10_000), renewed: make(chan struct{}, 100),
		ended: make(chan error, 1), stop: cancel,
	}
	go func() {
		l.ended <- subscribe(ctx, func(m []byte) { l.messages <- string(m) }, func() { l.renewed <- struct{}{} })
	}()
	t.Cleanup(func() { _ = l.end(t) })
	l.awaitRenewal(t)
	return l
}

func listenTo(t testing.TB, s store, inc protocol.Incarnation) *listener {
	t.Helper()
	return listen(t, func(ctx context.Context, handle func([]byte), renewed func()) error {
		return s.Subscribe(ctx, inc, handle, renewed)
	})
}

func (l *listener) end(t testing.TB) error {
	t.Helper()
	l.stop()
	select {
	case err := <-l.ended:
		l.ended <- err
		return err
	case <-time.After(10 * time.Second):
		t.Error("a subscription does not end with its context")
		return nil
	}
}

func (l *listener) awaitRenewal(t testing.TB) {
	t.Helper()
	select {
	case <-l.renewed:
	case <-time.After(10 * time.Second):
		t.Fatal("no subscription within 10 s")
	}
}

func (l *listener) want(t testing.TB, messages ...string) {
	t.Helper()
	for _, want := range messages {
		select {
		case got := <-l.messages:
			if got != want {
				t.Fatalf("heard %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("did not hear %q within 10 s", want)
		}
	}
}

func TestPublishReachesTheAddressee(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s, other := b.client(t), b.client(t)
		if n := must(s.Publish(t.Context(), n1, []byte("early")))(t); n != 0 {
			t.Errorf("%d heard a message before anybody listened", n)
		}
		first, second := listenTo(t, other, n1), listenTo(t, other, n2)
		const messages = 200
		for i := range messages {
			if n := must(s.Publish(t.Context(), n1, fmt.Appendf(nil, "m%d\x00\xff", i)))(t); n != 1 {
				t.Fatalf("%d heard message %d", n, i)
			}
		}
		for i := range messages {
			first.want(t, fmt.Sprintf("m%d\x00\xff", i))
		}
		must(s.Publish(t.Context(), n2, []byte("for two")))(t)
		second.want(t, "for two")
		if err := first.end(t); !errors.Is(err, context.Canceled) {
			t.Errorf("a subscription ended with %v", err)
		}
		eventually(t, "the subscription's end to be known", func() bool {
			n, err := s.Publish(t.Context(), n1, []byte("late"))
			return err == nil && n == 0
		})
	})
}

func TestEventsReachAllWhoListen(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s, other := b.client(t), b.client(t)
		first, second := listen(t, s.SubscribeEvents), listen(t, other.SubscribeEvents)
		check(t, s.PublishEvent(t.Context(), []byte("lost")))
		first.want(t, "lost")
		second.want(t, "lost")
	})
}
