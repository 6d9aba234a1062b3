package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/client"
)

// room is a server with just enough of Rollcall in it for the examples: it lets
// everybody in, sends some frames, and closes when it gets what it waits for.
type room struct {
	gws.BuiltinEventHandler
	frames []string
	waits  string
}

func (s *room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/end_point") {
		_, _ = fmt.Fprintf(w, `{"error_code":0,"error_reason":"","end_point":"ws://%s","ping_interval":15}`, r.Host)
		return
	}
	if ws, err := gws.NewUpgrader(s, nil).Upgrade(w, r); err == nil {
		go ws.ReadLoop()
	}
}

func (s *room) OnOpen(ws *gws.Conn) {
	_ = ws.WriteString(`{"action":"create_token","online_token":"t","ping_interval":15,"heartbeat_timeout":20,"current_room_id":42,"call_no":"","sign_key":"k"}`)
	for _, f := range s.frames {
		_ = ws.WriteString(f)
	}
	if s.waits == "" {
		_ = ws.WriteClose(4003, []byte("kicked"))
	}
}

func (s *room) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer func() { _ = m.Close() }()
	if strings.Contains(string(m.Bytes()), s.waits) {
		_ = ws.WriteClose(4003, []byte("kicked"))
	}
}

// A client that prints what is said in its room, until the backend kicks it.
func Example() {
	node := httptest.NewServer(&room{frames: []string{
		`{"action":"send_topic_msg","user_id":7,"nickname":"小明","content":"大家好","room_id":42,"epoch":1,"seq":1}`,
		`{"action":"send_topic_msg","user_id":7,"nickname":"小明","content":"大家好","room_id":42,"epoch":1,"seq":1}`, // a repeated one is dropped
	}})
	defer node.Close()

	c, err := client.New(client.Config{
		EndPoints: []string{node.URL},
		SID:       "17s0123456789abcdef",
		OnConnect: func(c client.Connected) { fmt.Println("in room", c.Room) },
		OnFrame: func(f client.Frame) {
			name, _ := f.Field("nickname").Text()
			text, _ := f.Field("content").Text()
			fmt.Printf("%s (%d): %s\n", name, f.User, text)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Run(context.Background()))
	// Output:
	// in room 42
	// 小明 (7): 大家好
	// closed with 4003 kicked
}

// A client that is told of a departure tells the room by its own means, and then
// reports it. Until somebody does, Rollcall asks one occupant after another.
func ExampleConfig_departures() {
	node := httptest.NewServer(&room{waits: "exit_room_report", frames: []string{
		`{"action":"exit_room","user_id":8,"channel_name":"voice-42","room_seat":{"id":3,"status":1,"microphone":true},"departure_id":"7-1-1"}`,
	}})
	defer node.Close()

	c, err := client.New(client.Config{
		EndPoints: []string{node.URL},
		SID:       "17s0123456789abcdef",
		OnDeparture: func(d client.Departure) bool {
			fmt.Printf("user %d left seat %d; telling %s\n", d.User, d.Seat.ID, d.ChannelName)
			return true // report it now
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Run(context.Background()))
	// Output:
	// user 8 left seat 3; telling voice-42
	// closed with 4003 kicked
}
