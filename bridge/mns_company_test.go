package bridge

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/alicebob/miniredis/v2"

	"github.com/faac1247/rollcall/mns/chat"
)

// crowd runs n callers at once while no call can leave, then lets all leave, and
// returns how many script calls served them.
func crowd(t *testing.T, m *MNS, n int, work func(i int)) int {
	t.Helper()
	m.lane.mu.Lock()
	m.lane.flying = m.lane.flights
	m.lane.mu.Unlock()
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { work(i) })
		synctest.Wait() // so that they come in order
	}
	m.lane.mu.Lock()
	calls := len(m.lane.queue)
	m.lane.mu.Unlock()
	for range m.lane.flights {
		m.lane.land(nil)
	}
	running.Wait()
	return calls
}

// TestMNSCompany has many callers of one queue share script calls, and each
// have its own part of the answer.
func TestMNSCompany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := miniredis.NewMiniRedis()
		defer server.Close()
		r, err := Open(Config{Dial: func(context.Context, string, string) (net.Conn, error) { return server.Dial() }})
		check(t, err)
		defer func() { _ = r.Disconnect() }()
		m, ctx := NewMNS(r, "n1"), t.Context()
		_, _, err = m.CreateQueue(ctx, "q", chat.DefaultQueueSettings())
		check(t, err)

		const callers = maxCompany + 6
		calls := crowd(t, m, callers, func(i int) {
			d := chat.Draft{ID: chat.MessageID(fmt.Sprint("id", i)), Body: fmt.Sprint(i), Priority: 8}
			if i == 3 {
				d.Body = string(make([]byte, chat.MaxMessageSize+1))
			}
			sent, err := m.Send(ctx, "q", []chat.Draft{d})
			if err != nil || (sent[0].Err != nil) != (i == 3) {
				t.Errorf("send %d: %+v, %v", i, sent, err)
			}
		})
		if calls != 2 {
			t.Errorf("%d senders made %d calls", callers, calls)
		}

		got := make([][]chat.Message, callers)
		calls = crowd(t, m, callers, func(i int) {
			received, err := m.Receive(ctx, chat.Receive{Queue: "q", Max: 1 + i%2})
			check(t, err)
			got[i] = received.Messages
		})
		if calls != 2 {
			t.Errorf("%d receivers made %d calls", callers, calls)
		}
		var bodies, want []string
		var handles []chat.Handle
		for i := range got {
			if len(got[i]) > 1+i%2 {
				t.Errorf("receiver %d got %d messages", i, len(got[i]))
			}
			for _, v := range got[i] {
				bodies, handles = append(bodies, v.Body), append(handles, v.Handle)
			}
		}
		for i := range callers {
			if i != 3 {
				want = append(want, fmt.Sprint(i))
			}
		}
		if !slices.Equal(bodies, want) {
			t.Errorf("received %v", bodies)
		}

		crowd(t, m, len(handles), func(i int) {
			h := handles[i]
			if i == 5 {
				h.Until++
			}
			verdicts, err := m.Delete(ctx, "q", []chat.Handle{h})
			if err != nil || (verdicts[0] != nil) != (i == 5) {
				t.Errorf("delete %d: %v, %v", i, verdicts, err)
			}
		})
		left, err := m.Queue(ctx, "q")
		if err != nil || left.Inactive != 1 || left.Active != 0 || len(m.companies) != 0 {
			t.Errorf("left %+v, %v, %d companies", left, err, len(m.companies))
		}
		if _, err := m.Send(ctx, "none", []chat.Draft{{ID: "x", Body: "x", Priority: 8}}); err == nil {
			t.Error("a queue that is not there took a message")
		}
	})
}
