package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	for _, u := range []int{1, 2, 3} {
		d.ok(nil, "PUT", fmt.Sprintf("/v1/rooms/r/occupants/%d", u), "")
	}
	const path = "/v1/rooms/r/publish"
	const talk = `{"action":"send_topic_msg","content":"a<b","x":[1, 2]}`
	d.want("POST", path, talk, 200, `{"epoch":1700000000000,"seq":1,"delivered":3}`)
	if got := d.cluster.frames[2]; len(got) != 1 || got[0] != talk {
		t.Errorf("user 2 got %q", got)
	}
	for _, ptp := range []string{
		`{"action":"send_gift","notify_type":"ptp","receiver_id":3}`,
		`{"action":"send_gift","notify_type":"ptp","receiver_id":"3"}`,
		`{"action":"send_gift","notify_type":"\u0070tp","receiver_id":3}`,
		`{"action":"send_gift","gift":{"notify_type":"ptp","receiver_id":3}}`,
		`{"action":"send_gift","notify_type":"ptp","gift":{"receiver_id":3}}`,
		`{"action":"send_gift","notify_type":"ptp","receiver_id":3,"gift":{"notify_type":"bc","receiver_id":1}}`,
	} {
		d.want("POST", path, ptp, 200, `{"epoch":1700000000000,"seq":0,"delivered":1}`)
	}
	if one, three := len(d.cluster.frames[1]), len(d.cluster.frames[3]); one != 1 || three != 7 {
		t.Errorf("user 1 got %d frames and user 3 got %d, want 1 and 7", one, three)
	}
	for _, bc := range []string{
		`{"action":"send_gift","notify_type":"bc","receiver_id":3}`,
		`{"action":"send_gift","gift":[]}`,
		`{"action":"send_gift","notify_type":7,"receiver_id":3}`,
	} {
		var got publishAnswer
		if d.ok(&got, "POST", path, bc); got.Delivered != 3 {
			t.Errorf("%s went to %d", bc, got.Delivered)
		}
	}
	d.wantError("POST", path, `{"action":"x","notify_type":"ptp","receiver_id":9}`, protocol.CodeNotInRoom)
	d.wantError("POST", "/v1/rooms/nobody/publish", talk, protocol.CodeRoomNotFound)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1", "")
	d.ok(nil, "PUT", "/v1/rooms/r2/occupants/2", "")
	d.want("POST", "/v1/publish", " [ ] ", 200, `[]`)
	got := d.ask("POST", "/v1/publish", ` [
		{"room_id":"r1","frame":{"action":"x"}},
		{"room_id":"r2","frame":{"action":"y"}, "more":[{}]} , {"room_id":"r1","frame":{"action":"z"}},
		{"room_id":"r3","frame":{"action":"x"}}, {"room_id":7,"frame":{"action":"x"}}, {"room_id":"r1"},
		{"room_id":"r1","frame":{}}, "text", [1,[2]], null, {"room_id":"call/c1","frame":{"action":"x"}},
		{"room_id":"r1","frame":{"action":"x","notify_type":"ptp","receiver_id":1}}, {"room_id":"r1","frame":{"a":}}
	]`)
	if got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	var answers []struct {
		Seq, Delivered int
		Error          fault
	}
	if err := json.Unmarshal([]byte(got.body), &answers); err != nil {
		t.Fatal(err)
	}
	var short []string
	for _, a := range answers {
		if a.Error.Code != "" {
			short = append(short, string(a.Error.Code))
			continue
		}
		short = append(short, fmt.Sprintf("%d/%d", a.Seq, a.Delivered))
	}
	want := "1/1 1/1 2/1 room_not_found bad_request bad_request bad_request bad_request bad_request bad_request bad_request 0/1 bad_request"
	if strings.Join(short, " ") != want {
		t.Errorf("answers\n     %s\nwant %s", strings.Join(short, " "), want)
	}
}

// meeting is a Rooms in which a publication waits until one is under way in
// each of so many rooms.
type meeting struct {
	*fakeCluster
	arrived sync.WaitGroup
}

func (m *meeting) wait() { m.arrived.Done(); m.arrived.Wait() }

// Rooms of a batch do not wait for one another; within a room all goes in the
// order of the batch.
func TestBatchOrder(t *testing.T) {
	t.Parallel()
	const width, perRoom = 16, 20
	d := newDoor(t, func(c *Config) { c.BatchWidth = width })
	var body bytes.Buffer
	for n := range perRoom {
		for r := range width {
			fmt.Fprintf(&body, `,{"room_id":"r%d","frame":{"action":"x","n":%d}}`, r, n)
		}
	}
	m := &meeting{fakeCluster: d.cluster}
	m.arrived.Add(width)
	for r := range width {
		d.ok(nil, "PUT", fmt.Sprintf("/v1/rooms/r%d", r), "{}")
	}
	d.api.cfg.Rooms = rooms(func(cmd protocol.Command) protocol.Reply {
		if strings.Contains(string(cmd.Frame), `"n":0}`) {
			m.wait()
		}
		return m.Do(t.Context(), cmd)
	})
	var answers []publishAnswer
	d.ok(&answers, "POST", "/v1/publish", "["+body.String()[1:]+"]")
	for i, a := range answers {
		if int(a.Seq) != i/width+1 {
			t.Fatalf("publication %d of the batch got seq %d, want %d", i, a.Seq, i/width+1)
		}
	}
	next := map[protocol.RoomID]int{}
	for _, cmd := range d.cluster.commands[width:] {
		if want := fmt.Sprintf(`{"action":"x","n":%d}`, next[cmd.Room]); string(cmd.Frame) != want {
			t.Fatalf("room %s got %s, want %s", cmd.Room, cmd.Frame, want)
		}
		next[cmd.Room]++
	}
}

func TestSplitArrayBounds(t *testing.T) {
	t.Parallel()
	if _, err := splitArray([]byte(`[1,2,3]`), 2); protocol.CodeOf(err) != protocol.CodeTooLarge {
		t.Errorf("three elements where two may be: %v", err)
	}
	if got, err := splitArray([]byte(`[1,2]`), 2); err != nil || len(got) != 2 {
		t.Errorf("two elements where two may be: %q, %v", got, err)
	}
}

// What is valid JSON is split as encoding/json does it, and what is split into
// objects is valid JSON.
func FuzzSplitArray(f *testing.F) {
	for _, seed := range []string{
		`[]`, ` [ ] `, `[{}]`, `[{"a":"]"},{"b":[{}]}]`, `[{"a":"\""} , {"b":"\\"}]`, `[1,"a",null,[2,{}]]`,
		`[`, `[,]`, `[{},]`, `[{}`, `[}]`, `["`, `["\`, `[{}] []`, `{}`, ``, `[[[[]]]`, `[{"a":]`, "[\xff]", `[1 2]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := splitArray(raw, len(raw))
		var want []json.RawMessage
		isArray := json.Unmarshal(raw, &want) == nil && want != nil
		if isArray {
			if err != nil || len(got) != len(want) {
				t.Fatalf("split %q into %q, %v; want %q", raw, got, err, want)
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("element %d of %q is %q, want %q", i, raw, got[i], want[i])
				}
			}
			return
		}
		if err != nil {
			return
		}
		for _, element := range got {
			if _, err := protocol.ParseObject(element); err != nil {
				return
			}
		}
		t.Fatalf("%q is no JSON array and was split into objects: %q", raw, got)
	})
}

func BenchmarkBatch1000(b *testing.B) {
	d := newDoor(b, nil)
	d.api.cfg.Rooms = rooms(func(protocol.Command) protocol.Reply {
		return protocol.Reply{Epoch: fakeEpoch, Seq: 1234, Delivered: 100}
	})
	var body bytes.Buffer
	for n := range 1000 {
		fmt.Fprintf(&body, `,{"room_id":"r%d","frame":{"action":"send_topic_msg","user_id":%d,"nickname":"小明","sex":1,"avatar_url":"http://a/b.png","avatar_small_url":"http://a/s.png","content":"hello, everybody","channel_name":"ch%d"}}`, n%100, n, n%100)
	}
	batch := "[" + body.String()[1:] + "]"
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		if got := d.ask("POST", "/v1/publish", batch); got.status != 200 {
			b.Fatal(got.status, got.body)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/item")
}
