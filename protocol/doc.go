// Package protocol is the vocabulary of the cluster and of its clients: the
// typed names of things, what nodes say to each other and to the store, the
// frames on a client's websocket, their signatures, and the codes with which
// all of them fail.
//
// It knows what may be said, not when: who may send a frame, in which order and
// with what effect is decided by the packages that import this one. It performs
// no I/O, starts no goroutine, reads no clock, and imports the standard library
// only.
//
// # Frames
//
// A frame is one JSON object in a websocket text message. Clients' frames are
// hostile until proven otherwise, so one strict and bounded scanner reads them
// in place: [ParseClientFrame] for what clients send, [ParseObject] for frames
// that arrive by other ways, [Number] for a frame on its way into a room. What
// they accept encoding/json accepts with the same meaning; they refuse more.
// The frames of the server are written by the Append functions, one for each.
//
// Every function here works on the bytes it is given and keeps none of them.
// What it returns may share their memory, and its comment then says so.
package protocol
