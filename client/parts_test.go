package client

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"
	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

func TestConfigFaultsAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := New(Config{EndPoints: []string{"ws://x"}, RoomID: "a/b", Sign: 9, BackoffMin: time.Hour, WriteTimeout: -1})
	for _, want := range []string{"ws://x", "no sid", "a/b", "sign mode", "backoff", "negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %q", err, want)
		}
	}
	if err := (Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "no end point") {
		t.Errorf("empty: %v", err)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	accident := ending{err: errors.New("reset"), open: true}
	drained := ending{err: &CloseError{Code: protocol.CloseDrain}, retryAfter: 8 * time.Second, open: true, lasted: time.Hour}
	overload := ending{err: &CloseError{Code: protocol.CloseOverloaded}, open: true}
	after := func(random float64, endings ...ending) (pauses []time.Duration) {
		b, now := backoff{min: time.Second, max: 6 * time.Second}, time.Unix(1767323045, 0)
		for _, e := range endings {
			pauses = append(pauses, b.after(e, now, random))
			now = now.Add(pauses[len(pauses)-1])
		}
		return pauses
	}
	nobody := ending{err: errors.New("refused"), elsewhere: true}
	soonDrained, atOnceDrained := drained, drained
	soonDrained.lasted, atOnceDrained.lasted = settled, settled/2
	stableAccident, shortAccident := accident, accident
	stableAccident.lasted, shortAccident.lasted = stable, eagerAfter
	for name, test := range map[string]struct {
		got, want []time.Duration
	}{
		"doubles up to the limit": {after(0.5, accident, accident, accident, accident, accident), millis(500, 1000, 2000, 3000, 3000)},
		"is any part":             {after(0, accident, accident), millis(0, 0)},
		"begins anew":             {after(0.5, accident, accident, stableAccident), millis(500, 1000, 500)},
		"is eager after a loss": {
			after(0.9, append([]ending{stableAccident}, slices.Repeat([]ending{accident}, 11)...)...),
			millis(900, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 1800, 5400, 5400, 5400),
		},
		"is eager again and again": {
			after(0.9, append(slices.Repeat([]ending{accident}, 5), shortAccident, accident, accident)...),
			millis(900, 1800, 3600, 5400, 5400, 1800, 1800, 1800),
		},
		"drain is no failure": {after(0.5, drained, accident), millis(4000, 500)},
		"drain after drain":   {after(0.5, drained, soonDrained, soonDrained, accident), millis(4000, 4000, 4000, 500)},
		"drain at once":       {after(0.5, atOnceDrained, atOnceDrained, atOnceDrained), millis(4000, 5000, 6000)},
		"nobody listens":      {after(0.4, stableAccident, nobody, nobody, accident), millis(400, 100, 100, 800)},
		"nobody at all": {
			after(0.4, nobody, nobody, nobody, nobody, nobody, nobody, accident, nobody), millis(100, 100, 100, 100, 400, 800, 1600, 100),
		},
		"overload after overload": {after(0.5, overload, overload, overload), millis(1000, 2000, 3000)},
		"refused":                 {after(0.5, ending{err: &refusal{}, retryAfter: 4 * time.Second}), millis(2500)},
	} {
		if !slices.Equal(test.got, test.want) {
			t.Errorf("%s: %v, want %v", name, test.got, test.want)
		}
	}
}

func millis(n ...int) (d []time.Duration) {
	for _, ms := range n {
		d = append(d, time.Duration(ms)*time.Millisecond)
	}
	return d
}

func TestEndPointAnswers(t *testing.T) {
	t.Parallel()
	r, err := parseRoute([]byte(`{"error_code":0,"error_reason":"","end_point":"wss://h:1/x","not_before_ms":99999999,"more":[]}`))
	if err != nil || r.endPoint != "wss://h:1/x" || r.notBefore != maxWait {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{``, `[]`, `{"error_code":-1,"error_reason":"why"}`, `{"error_code":0}`, `{"error_code":0,"end_point":"http://h"}`, `{"error_code":0,"end_point":"ws://"}`} {
		if _, err := parseRoute([]byte(bad)); err == nil || errors.Is(err, ErrStayAway) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	u, err := socketURL("ws://h", url.Values{"sid": {"1s a&b"}}, true)
	if err != nil || u.String() != "ws://h/?sid=1s+a%26b&v=2" || address(u) != "h:80" {
		t.Errorf("%v, %v", u, err)
	}
	if u, err = socketURL("wss://h/ws", nil, false); err != nil || address(u) != "h:443" || u.Path != "/ws" {
		t.Errorf("%v, %v", u, err)
	}
	h := http.Header{}
	for value, want := range map[string]time.Duration{"": 0, "x": 0, "-1": 0, "7": 7 * time.Second, "999999": maxRetryAfter} {
		h.Set("Retry-After", value)
		if got := retryAfter(h); got != want {
			t.Errorf("Retry-After %q: %v", value, got)
		}
	}
}

func TestCommonParametersAreSigned(t *testing.T) {
	t.Parallel()
	q := url.Values{"ckey": {"ck"}, "code": {"yuewan"}, "dno": {"x"}, "pf": {"ios"}, "sid": {"42stest"}, "ts": {"1517644790"}}
	if got := endPointURL("http://h/", q); !strings.HasPrefix(got, "http://h/api/websocket/end_point?") || !strings.Contains(got, "h=42afb87f1a33d8caa53d5d411d2db146") {
		t.Error(got)
	}
}

func TestClientFramesAreWhatTheLibraryReads(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 1 << 10, 1<<16 - 1, 1 << 16} {
		payload := bytes.Repeat([]byte("x"), n)
		raw := appendFrame(nil, gws.OpcodeText, payload, 0x01020304)
		head := len(raw) - n
		if head > maxHeader || raw[0] != 0x81 || raw[1]&0x80 == 0 {
			t.Errorf("%d bytes: head % x", n, raw[:head])
		}
		for i := range payload {
			if raw[head+i]^[]byte{1, 2, 3, 4}[i&3] != 'x' {
				t.Fatalf("%d bytes: byte %d is wrong", n, i)
			}
		}
	}
}

func TestPacerKeepsManyTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = p.Run(ctx) }()
		began := time.Now()
		rang := make(map[int][]time.Duration)
		alarms := make([]*alarm, 200)
		for i := range alarms {
			a := &alarm{}
			a.do = func() {
				rang[i] = append(rang[i], time.Since(began))
				if len(rang[i]) < 3 {
					p.set(a, time.Duration(i)*time.Millisecond)
				}
			}
			alarms[i] = a
			p.set(a, time.Duration((i*37)%200)*time.Millisecond)
		}
		p.set(alarms[7], time.Second) // later after all
		p.stop(alarms[8])
		p.stop(alarms[8])
		time.Sleep(time.Minute)
		synctest.Wait()
		for i := range alarms {
			first := time.Duration((i*37)%200) * time.Millisecond
			want := []time.Duration{first, first + time.Duration(i)*time.Millisecond, first + 2*time.Duration(i)*time.Millisecond}
			switch i {
			case 7:
				want = millis(1000, 1007, 1014)
			case 8:
				want = nil
			}
			if !slices.Equal(rang[i], want) {
				t.Errorf("alarm %d rang at %v, want %v", i, rang[i], want)
			}
		}
		if len(p.due) != 0 {
			t.Errorf("%d alarms are left", len(p.due))
		}
		cancel()
		<-done
	})
}

// TestTrackAgainstAList compares a track with one who has the whole list: what
// is delivered is in order, never twice, and within an epoch all of it once the
// list's rest was sent.
func TestTrackAgainstAList(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		list := publications(rt)
		tr := &track{}
		var got []place
		feed := func(p place) {
			if v := tr.take(p); v == next {
				got = append(got, p)
			} else if v == missed && !tr.hold(p, []byte("f")) {
				rt.Fatal("held too much")
			}
			for {
				h, ok := tr.release()
				if !ok {
					return
				}
				got = append(got, h.at)
			}
		}
		feed(list[0])
		seen := 0 // the client never hears of an epoch before one it has heard of
		for range rapid.IntRange(0, 60).Draw(rt, "frames") {
			i := rapid.IntRange(0, min(seen+4, len(list)-1)).Draw(rt, "frame")
			if list[i].epoch < list[seen].epoch {
				continue
			}
			seen = max(seen, i)
			feed(list[i])
		}
		last := list[len(list)-1]
		for _, p := range list {
			feed(p)
		}
		if tr.at.before(last) {
			tr.at = last // as synced and resync say
		}
		if _, ok := tr.release(); ok || len(tr.held) != 0 {
			rt.Fatalf("%d are held behind the last", len(tr.held))
		}
		for i := 1; i < len(got); i++ {
			if !got[i-1].before(got[i]) {
				rt.Fatalf("%v came after %v", got[i], got[i-1])
			}
		}
		if last.epoch == 1 && len(got) != len(list) {
			rt.Fatalf("%d of %d in one epoch", len(got), len(list))
		}
	})
}

// publications draws the places of a room's life: some in an epoch, then a
// handover or a crash.
func publications(rt *rapid.T) []place {
	var list []place
	at := place{1, 0}
	for range rapid.IntRange(1, 4).Draw(rt, "epochs") {
		for range rapid.IntRange(1, 12).Draw(rt, "count") {
			at.seq++
			list = append(list, at)
		}
		at.epoch++
		if rapid.Bool().Draw(rt, "crash") {
			at.seq = 0
		}
	}
	return list
}

func TestHoldIsBounded(t *testing.T) {
	t.Parallel()
	tr := &track{at: place{1, 1}}
	for i := range 2 {
		if !tr.hold(place{1, protocol.Seq(3 + i)}, make([]byte, maxHeldBytes/2)) {
			t.Fatal("not even the bound is held")
		}
	}
	if tr.hold(place{1, 9}, []byte("x")) {
		t.Error("more than the bound is held")
	}
	if !(&track{}).hold(place{1, 9}, make([]byte, maxHeldBytes)) {
		t.Error("the bound itself is not held")
	}
}

func TestFramesDecode(t *testing.T) {
	t.Parallel()
	f, err := parseFrame([]byte(`{"action":"resync","room_id":12,"epoch":4,"seq":20,"rev":3,"count":1,"channel_name":"c","occupants":[{"user_id":7,"nickname":"n","seat":2,"since":"2026-01-02T03:04:05Z","online":true}],"seats":[{"id":2,"status":1,"microphone":true,"user_id":7}],"next":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.RoomView()
	if err != nil || v.RoomID != "12" || v.Epoch != 4 || v.Seq != 20 || v.Rev != 3 || len(v.Occupants) != 1 || v.Occupants[0].Nickname != "n" || len(v.Seats) != 1 || v.Next != "x" {
		t.Errorf("%+v, %v", v, err)
	}
	f, err = parseFrame([]byte(`{"action":"presence","room_id":"r","epoch":4,"rev":9,"in":[{"user_id":7}],"out":[{"user_id":8,"reason":"closed"}],"count":5}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Presence()
	if err != nil || p.Rev != 9 || p.Count != 5 || p.In[0].UserID != 7 || p.Out[0] != (PresenceOut{8, "closed"}) {
		t.Errorf("%+v, %v", p, err)
	}
	f, err = parseFrame([]byte(`{"action":"error","code":"seat_taken","message":"user 8 sits there"}`))
	if err != nil || f.Err() == nil || f.Err().Code != protocol.CodeSeatTaken {
		t.Errorf("%v, %v", f.Err(), err)
	}
	clone := f.Clone()
	copy(f.Raw(), bytes.Repeat([]byte("x"), 20))
	if clone.Err() == nil || (Frame{}).Err() != nil || (Frame{}).Clone().Raw() != nil {
		t.Error("a clone shares the frame's memory")
	}
}

func TestFramesCostNoAllocation(t *testing.T) {
	raw := []byte(`{"action":"send_topic_msg","user_id":7,"nickname":"小明","content":"大家好","room_id":"r1","epoch":1,"seq":1}`)
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := parseFrame(raw); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		`{"action":"create_token","online_token":"t","ping_interval":0.5,"heartbeat_timeout":20,"current_room_id":0,"call_no":"","sign_key":"k"}`,
		`{"action":"create_token","error_code":-1,"error_reason":""}`,
		`{"action":"exit_room","user_id":7,"channel_name":"c","room_seat":{"id":1,"status":1,"microphone":true},"departure_id":"1-2-3"}`,
		`{"action":"exit_room","user_id":-7,"room_seat":{"id":"x"}}`,
		`{"action":"send_topic_msg","room_id":12,"epoch":1,"seq":2}`,
		`{"action":"resync","room_id":"r","occupants":[],"seats":[]}`, `{"action":"drain","retry_after":1e300}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		frame, err := parseFrame(raw)
		if err != nil {
			return
		}
		if frame.Action == "" || frame.User < 0 {
			t.Fatalf("%q: %+v", raw, frame)
		}
		token := parseCreateToken(frame)
		if token.pingInterval < 0 || token.heartbeatTime < 0 {
			t.Fatalf("%q: %+v", raw, token)
		}
		departure(frame)
		_ = frame.Err()
		if clone := frame.Clone(); clone.Action != frame.Action || clone.Seq != frame.Seq {
			t.Fatalf("%q: clone %+v", raw, clone)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add([]byte(`{"error_code":0,"end_point":"ws://h:1","not_before_ms":10}`))
	f.Add([]byte(`{"error_code":-100,"error_reason":"请登录"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRoute(body)
		if err != nil {
			return
		}
		if r.notBefore < 0 || r.notBefore > maxWait {
			t.Fatalf("%q: %+v", body, r)
		}
		u, err := socketURL(r.endPoint, url.Values{"sid": {"1s"}}, false)
		if err != nil || address(u) == "" {
			t.Fatalf("%q: %v, %v", body, u, err)
		}
	})
}

func TestAvoidedIsBoundedAndForgets(t *testing.T) {
	t.Parallel()
	var a avoided
	now := time.Unix(1767323045, 0)
	for i := range 9 {
		a.add(string(rune('a'+i)), now.Add(time.Duration(i)*time.Second))
	}
	a.add("j", now.Add(9*time.Second))
	if got := a.recent(now.Add(9 * time.Second)); !slices.Equal(got, []string{"g", "h", "i", "j"}) {
		t.Errorf("%q", got)
	}
	if got := a.recent(now.Add(12 * time.Second)); !slices.Equal(got, []string{"i", "j"}) {
		t.Errorf("later %q", got)
	}
}

// Who waits for longer than addresses count is not sent to the same full node
// again; who has tried all begins anew.
func TestAvoidedOutlastsPauses(t *testing.T) {
	t.Parallel()
	var a avoided
	now := time.Unix(1767323045, 0)
	for _, full := range []string{"a", "b", "c"} {
		if a.add(full, now) {
			t.Errorf("%s was known", full)
		}
		a.pause(3*avoidFor, now)
		now = now.Add(3 * avoidFor)
	}
	if got := a.recent(now); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("after three attempts %q", got)
	}
	if got := a.recent(now.Add(avoidFor)); len(got) > 0 {
		t.Errorf("while nothing is tried %q", got)
	}
	if !a.add("a", now) {
		t.Error("a was not known")
	}
	if got := a.recent(now); !slices.Equal(got, []string{"a"}) {
		t.Errorf("in the second round %q", got)
	}
}
