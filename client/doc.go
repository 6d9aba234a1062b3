// Package client connects a user to Rollcall: it asks end_point for the node to
// go to, opens the websocket, sends heartbeats, reports departures, puts the
// publications of a room into order and asks for those that are missing, and
// comes back when the connection breaks.
//
//	c, err := client.New(client.Config{
//		EndPoints: []string{"http://node:8001"},
//		SID:       sid,
//		OnFrame:   func(f client.Frame) { … },
//	})
//	…
//	err = c.Run(ctx) // blocks
//
// What a client is told arrives in the callbacks of its Config. They are called
// one at a time, in order, and with no lock held, by the goroutine that reads the
// connection: a callback may call any method, and one that takes long makes
// this one client slow. What a client wants to say goes through its methods,
// which any goroutine may call.
//
// Run starts nothing that outlives it. A client at rest costs one goroutine;
// many in one process share a Pacer, which keeps their time.
//
// The calls of a backend are in package client/backend.
package client
