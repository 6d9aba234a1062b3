package integ

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// C1: end_point answers where to go, the same on every node.
func TestEndPoint(t *testing.T) {
	t.Parallel()
	c := share(t, both)
	common := url.Values{"code": {"yuewan"}, "pf": {"ios"}, "ver": {"3.1"}, "ts": {"1517644790"}, "net": {"4g"}, "sid": {"42stest"}}
	with := func(name, value string) url.Values {
		v := url.Values{name: {value}}
		for k, vs := range common {
			if k != name {
				v[k] = vs
			}
		}
		return v
	}
	for i := 1; i <= 3; i++ {
		got, err := c.endPoint(i, common)
		if err != nil || got.ErrorCode != 0 || got.ErrorReason != "" || got.PingInterval != 15 || !strings.HasPrefix(got.EndPoint, "ws://"+lab.host+":") {
			t.Errorf("node %d answers %+v, %v", i, got, err)
		}
		first, err := c.endPoint(1, with("room_id", "7777"))
		if err != nil {
			t.Fatal(err)
		}
		here, err := c.endPoint(i, with("room_id", "7777"))
		if err != nil || here != first || here.RoomID != float64(7777) {
			t.Errorf("node %d answers %+v (%v) for a room, node 1 %+v", i, here, err, first)
		}
		for _, bad := range []struct {
			params url.Values
			code   int
		}{
			{url.Values{"pf": {"ios"}}, -100},
			{with("sid", "nobody"), -100},
			{with("h", "0123456789abcdef0123456789abcdef"), -1},
			{with("room_id", "no such/room"), -1},
		} {
			if got, err := c.endPoint(i, bad.params); err != nil || got.ErrorCode != bad.code || got.ErrorReason == "" || got.EndPoint != "" {
				t.Errorf("node %d answers %+v (%v) to %v, want code %d with a reason", i, got, err, bad.params, bad.code)
			}
		}
	}
	signed := url.Values{
		"ckey": {"ck"}, "code": {"yuewan"}, "dno": {"x"}, "pf": {"ios"}, "sid": {"42stest"}, "ts": {"1517644790"},
		"h": {"42afb87f1a33d8caa53d5d411d2db146"},
	}
	if got, err := c.endPoint(1, signed); err != nil || got.ErrorCode != 0 {
		t.Errorf("a rightly signed request is answered %+v, %v", got, err)
	}
}

// C3: the client dials what end_point says, with or without a path; the first
// frame is create_token, and no two tokens are the same.
func TestFirstFrameIsCreateToken(t *testing.T) {
	t.Parallel()
	c := share(t, both)
	seen := map[string]bool{}
	for n := range 12 {
		user := newUser()
		e, err := c.endPoint(n%3+1, url.Values{"sid": {fmt.Sprintf("%ds", user)}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := dialPhone(strings.TrimPrefix(e.EndPoint, "ws://"), user, phoneOptions{path: []string{"?", "/?", "/ws?"}[n%3]})
		if err != nil {
			t.Fatal(err)
		}
		first := p.token().fields
		token, _ := first["online_token"].(string)
		if token == "" || seen[token] {
			t.Errorf("token %q is empty or was given before", token)
		}
		seen[token] = true
		if first["ping_interval"] != float64(15) || first["heartbeat_timeout"] != float64(20) || first["current_room_id"] != float64(0) || first["call_no"] != "" {
			t.Errorf("create_token is %v", first)
		}
		p.hang()
	}
}
