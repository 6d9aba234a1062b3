// Package edge is a node's websocket side: it holds the clients' connections,
// judges their heartbeats, delivers what owners publish and sends what clients
// say to owners.
package edge
