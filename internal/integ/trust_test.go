package integ

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/lxzan/gws"
)

// signedPhone connects a user with a token that allows everything.
func (c *cluster) signedPhone(user, i int, opts phoneOptions) *phone {
	c.tb.Helper()
	opts.sid = jwtOf(user, "*")
	return c.phone(user, i, opts)
}

// A frame that is not provably this connection's has no effect.
func TestForgedFramesHaveNoEffect(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	room := newRoom()
	a, b := c.signedPhone(newUser(), 2, phoneOptions{}), c.signedPhone(newUser(), 1, phoneOptions{})
	for _, p := range []*phone{a, b} {
		c.enter(1, room, p.user, nil)
	}
	key := a.token().fields["sign_key"].(string)
	msg := func(content string) fields {
		return a.whole(fields{"action": "send_topic_msg", "room_id": room, "content": content})
	}
	with := func(f fields, name string, v any) fields {
		f[name] = v
		return f
	}
	stamp := time.Now().Unix()
	raw := func(b []byte) { a.sayRaw(gws.OpcodeText, b) }

	raw(sign(with(msg("first"), "timestamp", stamp), byHMAC, key))
	raw(sign(msg("signed by md5"), byMD5, ""))
	raw(sign(msg("signed with another key"), byHMAC, "k"))
	raw(sign(msg("signed with the other's key"), byHMAC, b.token().fields["sign_key"].(string)))
	raw(encode(msg("not signed")))
	raw(encode(with(msg("an empty sign"), "sign", "")))
	tampered := fields{}
	if err := json.Unmarshal(sign(msg("one"), byHMAC, key), &tampered); err != nil {
		t.Fatal(err)
	}
	raw(encode(with(tampered, "content", "changed after signing")))
	raw(sign(with(msg("another's token"), "online_token", b.token().fields["online_token"]), byHMAC, key))
	raw(sign(with(msg("another's sid"), "sid", b.sid), byHMAC, key))
	raw(sign(with(msg("no sid"), "sid", ""), byHMAC, key))
	raw(sign(with(msg("stale"), "timestamp", stamp-120), byHMAC, key))
	raw(sign(with(msg("from the future"), "timestamp", stamp+120), byHMAC, key))
	raw(sign(with(msg("no timestamp"), "timestamp", nil), byHMAC, key))
	replayed := sign(msg("replayed"), byHMAC, key)
	b.sayRaw(gws.OpcodeText, replayed) // on another's connection
	again := c.signedPhone(a.user, 3, phoneOptions{})
	again.sayRaw(gws.OpcodeText, replayed) // on a later one of the same user
	c.reachable(1, room, again)
	again.say(fields{"action": "send_topic_msg", "room_id": room, "content": "last"})

	eventually(t, 3*time.Second, func() error {
		var heard []string
		for _, f := range b.heard("send_topic_msg") {
			heard = append(heard, f.fields["content"].(string))
		}
		if fmt.Sprint(heard) != "[first last]" {
			return fmt.Errorf("B heard %q, want first and last alone", heard)
		}
		return nil
	})
	stands(t, b, again)
}

// Pings signed with the key of create_token keep a connection alive. Others are
// as good as none, and so is the clock of a phone that runs wrong from the
// start: it is the phone's own.
func TestSignedPingsKeepAlive(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	good := c.signedPhone(newUser(), 1, phoneOptions{})
	slow := c.signedPhone(newUser(), 2, phoneOptions{silent: true})
	past := time.Now().Add(-40 * 365 * 24 * time.Hour)
	began := time.Now()
	stop := repeat(5*time.Second, func() {
		slow.say(fields{"action": "ping", "timestamp": past.Add(time.Since(began)).Unix()})
	})
	defer stop()
	bad := map[string]*phone{}
	for name, how := range map[string]signing{"md5": byMD5, "nothing": byNothing} {
		bad[name] = c.signedPhone(newUser(), 3, phoneOptions{sign: how})
	}
	for name, p := range bad {
		eventually(t, 25*time.Second, closedWith(p, 4002))
		if d := time.Since(p.token().at); d < 20*time.Second {
			t.Errorf("closed %s after create_token, signing by %s", d, name)
		}
	}
	eventually(t, 8*time.Second, func() error {
		if d := time.Since(good.token().at); d < 26*time.Second {
			return fmt.Errorf("only %s have passed", d)
		}
		return nil
	})
	stands(t, good, slow)
}

// A token that is not good now is nobody's: end_point and the websocket say so.
func TestForgedTokensAreNobodys(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	user := newUser()
	hour := time.Now().Add(time.Hour).Unix()
	for name, sid := range map[string]string{
		"another secret": token("HS256", "some other secret of sufficient length!!", claims{Subject: fmt.Sprint(user), Expires: hour}),
		"not signed":     token("none", "", claims{Subject: fmt.Sprint(user), Expires: hour}),
		"expired":        token("HS256", jwtKey, claims{Subject: fmt.Sprint(user), Expires: time.Now().Add(-time.Hour).Unix()}),
		"without end":    token("HS256", jwtKey, claims{Subject: fmt.Sprint(user)}),
		"no user":        token("HS256", jwtKey, claims{Expires: hour}),
		"a dev sid":      fmt.Sprintf("%ds", user),
		"changed":        jwtOf(user)[:20] + "A" + jwtOf(user)[21:],
	} {
		if e, err := c.endPoint(2, url.Values{"sid": {sid}}); err != nil || e.ErrorCode != -100 || e.ErrorReason == "" || e.EndPoint != "" {
			t.Errorf("%s: end_point answers %+v, %v", name, e, err)
		}
		p, err := dialPhone(at(c.ports[1].listen), user, phoneOptions{sid: sid})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(p.hang)
		if f := p.token().fields; f["error_code"] != float64(-1) || f["error_reason"] == "" {
			t.Errorf("%s: create_token is %v", name, f)
		}
		eventually(t, 2*time.Second, closedWith(p, 4004))
	}
	if u, err := c.user(1, user); err != nil || u.Online {
		t.Errorf("the user is %+v (%v), want never seen", u, err)
	}
}

// A client may send what its token allows, and nothing else.
func TestTokenSaysWhatAClientMaySend(t *testing.T) {
	t.Parallel()
	c := share(t, strict)
	user, room := newUser(), newRoom()
	p := c.phone(user, 1, phoneOptions{sid: jwtOf(user, "send_topic_msg")})
	p.say(fields{"action": "enter_room", "room_id": room})
	eventually(t, 2*time.Second, heardAll([]*phone{p}, "error", 1))
	if f := p.heard("error")[0].fields; f["code"] != "forbidden" || f["message"] == "" {
		t.Errorf("answered %v, want forbidden and a message", f)
	}
	c.enter(2, room, user, nil)
	p.say(fields{"action": "send_topic_msg", "room_id": room, "content": "hi"})
	eventually(t, 2*time.Second, heardAll([]*phone{p}, "send_topic_msg", 1))
	if u, err := c.user(3, user); err != nil || !u.Online || u.CurrentRoomID != room {
		t.Errorf("the user is %+v (%v), want online in %s", u, err, room)
	}
}
