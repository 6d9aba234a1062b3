package backend_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

// A backend that lets a user into a room, and is told when the seat is taken.
func Example() {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/rooms/42/occupants/1017" {
			_, _ = fmt.Fprint(w, `{"room_id":"42","epoch":1700000000000,"seq":3,"end_point":"ws://n1.example:8001"}`)
			return
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprint(w, `{"error":{"code":"seat_taken","message":"user 1018 sits on seat 1"}}`)
	}))
	defer node.Close()

	ctx := context.Background()
	b, err := backend.New(backend.Config{URLs: []string{node.URL}, Key: "dev"})
	if err != nil {
		fmt.Println(err)
		return
	}
	entered, err := b.Enter(ctx, "42", 1017, backend.Entry{Profile: protocol.Profile{Nickname: "小明", Role: "host"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connect to", entered.EndPoint)
	if _, err := b.Up(ctx, "42", 1, 1017); protocol.CodeOf(err) == protocol.CodeSeatTaken {
		fmt.Println("that seat is taken")
	}
	// Output:
	// connect to ws://n1.example:8001
	// that seat is taken
}
