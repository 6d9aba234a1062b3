package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

func TestWhatAClientSays(t *testing.T) {
	ctx := context.Background()
	for name, test := range map[string]struct {
		send func(*Client) error
		want string // the frame's own fields
	}{
		"enter": {func(c *Client) error {
			return c.EnterRoom(ctx, "12", protocol.Profile{Nickname: `小"明<&>`, Sex: 1, AvatarURL: "a/b", Role: "host"})
		}, `{"action":"enter_room","room_id":12,"nickname":"小\"明<&>","sex":1,"avatar_url":"a/b","avatar_small_url":"","role":"host"`},
		"exit": {func(c *Client) error { return c.ExitRoom(ctx, "r1") }, `{"action":"exit_room","room_id":"r1"`},
		"up":   {func(c *Client) error { return c.Up(ctx, "r1", 3) }, `{"action":"up","room_id":"r1","currenr_room_seat_id":3`},
		"down": {func(c *Client) error { return c.Down(ctx, "r1", 3) }, `{"action":"down","room_id":"r1","currenr_room_seat_id":3`},
		"talk": {func(c *Client) error { return c.SendTopicMsg(ctx, "r1", TopicMsg{Content: "hi", ChannelName: "c"}) },
			`{"action":"send_topic_msg","room_id":"r1","content":"hi","nickname":"","sex":0,"avatar_url":"","avatar_small_url":"","channel_name":"c"`},
		"gift": {func(c *Client) error {
			return c.SendGift(ctx, "r1", Gift{NotifyType: "ptp", Receiver: 9, Gift: GiftItem{ID: 5, Num: 1}})
		},
			`{"action":"send_gift","room_id":"r1","notify_type":"ptp","receiver_id":9,"sender_room_seat_id":0,"receiver_room_seat_id":0,"sender_nickname":"","receiver_nickname":"","channel_name":"","gift":{"id":5,"name":"","dynamic_image_url":"","image_url":"","image_big_url":"","image_small_url":"","num":1}`},
		"call":    {func(c *Client) error { return c.Call(ctx, "c1", 9) }, `{"action":"call","room_id":"c1","receiver_id":9`},
		"hang up": {func(c *Client) error { return c.HangUp(ctx, "c1") }, `{"action":"hang_up","room_id":"c1"`},
		"any":     {func(c *Client) error { return c.Send(ctx, "up_report", map[string]any{"user_id": 7}) }, `{"action":"up_report","user_id":7`},
		"bare":    {func(c *Client) error { return c.Send(ctx, "down_report", nil) }, `{"action":"down_report"`},
		"report":  {func(c *Client) error { return c.Report(ctx, Departure{Action: protocol.ActionHangUp, User: 7}) }, `{"action":"hang_up_report","user_id":7`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(r *rig) {
				p := r.connected()
				if err := test.send(r.client); err != nil {
					t.Fatal(err)
				}
				f := <-p.frames
				own, _, _ := strings.Cut(string(f.Raw()), `,"online_token":"tok","sid":"`+testSID+`","timestamp":`)
				if own != test.want {
					t.Errorf("sent %s\nwant %s", own, test.want)
				}
				if v := new(protocol.Verifier); !v.HMAC(&f, testKey) {
					t.Error("the signature is wrong")
				}
			})
		})
	}
}

func TestWhatCannotBeSent(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		ended, cancel := context.WithCancel(r.t.Context())
		cancel()
		p := r.connected()
		ctx := r.t.Context()
		for name, err := range map[string]error{
			"ended context": r.client.Send(ended, "pk", nil),
			"no object":     r.client.Send(ctx, "pk", []int{1}),
			"no JSON":       r.client.Send(ctx, "pk", func() {}),
			"field twice":   r.client.Send(ctx, "pk", map[string]any{"action": "ping"}),
			"too large":     r.client.Send(ctx, "pk", map[string]any{"x": strings.Repeat("x", protocol.MaxClientFrame)}),
		} {
			if err == nil {
				t.Errorf("%s: sent", name)
			}
		}
		p.quiet(time.Second)
		p.close(protocol.CloseKicked)
		<-r.done
		for name, err := range map[string]error{
			"send":   r.client.Send(ctx, "pk", nil),
			"report": r.client.Report(ctx, Departure{}),
			"resync": r.client.Resync(ctx, "r1"),
			"call":   r.client.Call(ctx, "c1", 3),
		} {
			if !errors.Is(err, ErrNotConnected) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestWhereAClientBelievesToBe(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		ctx := r.t.Context()
		p.sendRoom(1, 1)
		r.heard.take()
		if err := r.client.Call(ctx, "c1", 9); err != nil {
			t.Fatal(err)
		}
		if room, call := r.client.Place(); room != "r1" || call != "call/c1" {
			t.Errorf("in %q and %q", room, call)
		}
		p.send(`{"action":"hang_up","user_id":9,"receiver_id":42,"channel_name":"c1","departure_id":"d"}`)
		r.heard.take()
		if err := r.client.ExitRoom(ctx, "r1"); err != nil {
			t.Fatal(err)
		}
		if room, call := r.client.Place(); room != "" || call != "" || len(r.client.tracks) != 0 {
			t.Errorf("in %q and %q", room, call)
		}
		p.drop()
		r.accept(time.Minute)
		if got := r.heard.take(); len(got) != 2 {
			t.Errorf("told %q", got) // it left by itself, so nothing is gone
		}
	})
}

// brokenPipe is a connection whose writes fail from the first on, and which has
// the server's last words to read.
type brokenPipe struct {
	net.Conn
	unread []byte
}

func (c *brokenPipe) Write([]byte) (int, error)        { return 0, errors.New("broken pipe") }
func (c *brokenPipe) SetWriteDeadline(time.Time) error { return nil }
func (c *brokenPipe) SetReadDeadline(time.Time) error  { return nil }
func (c *brokenPipe) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		return 0, errors.New("reset")
	}
	n := copy(b, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

func TestLastWordsAreHeardAfterAFailedWrite(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		cn := r.client.current()
		// From here on the client can't write, and knows it before it reads.
		near := cn.socket.Conn
		cn.socket.Conn = &brokenPipe{Conn: near}
		defer func() { _ = near.Close() }()
		if err := r.client.Send(r.t.Context(), "pk", nil); err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("send: %v", err)
		}
		p.close(protocol.CloseKicked)
		err := r.wait(time.Minute)
		if closed := new(CloseError); !errors.As(err, &closed) || closed.Code != protocol.CloseKicked {
			t.Errorf("Run: %v", err)
		}
	})
}

// mute is a connection whose writes fail.
type mute struct{ net.Conn }

func (mute) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestFailedWriteEndsTheConnection(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		r.connected()
		cn := r.client.current()
		cn.socket.Conn = mute{cn.socket.Conn}
		if err := r.client.Send(r.t.Context(), "pk", nil); err == nil {
			t.Error("sent")
		}
		began := time.Now()
		r.accept(lastWords + defaultBackoffMin)
		if got := r.heard.take(); len(got) == 0 || !strings.Contains(got[0], "broken pipe") {
			t.Errorf("told %q after %v", got, time.Since(began))
		}
	})
}

func TestStuckWriteIsBounded(t *testing.T) {
	inBubble(t, func(c *Config) { c.ProbeInterval = -1 }, func(r *rig) {
		r.connected()
		r.net.Pause(serverHost)
		defer r.net.Resume(serverHost)
		big := map[string]any{"x": strings.Repeat("x", 7000)}
		began := time.Now()
		var err error
		for range 10000 {
			if err = r.client.Send(r.t.Context(), "pk", big); err != nil {
				break
			}
		}
		if err == nil {
			t.Fatal("the network took it all")
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("stuck for %v", took)
		}
	})
}

var _ gws.Event = (*conn)(nil)
