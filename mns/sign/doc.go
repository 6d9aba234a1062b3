// Package sign computes the signatures of the chat pipeline's HTTP interface
// and of its websocket's control messages, for the server and for clients. It
// is pure: what is signed and with what, in; the signature, out.
//
// Version 2 signs the request's head as it is on the wire: the target is taken
// raw, neither decoded nor ordered. Version 4 signs it in a canonical form, with
// a key that is good for one day, region and service.
package sign
