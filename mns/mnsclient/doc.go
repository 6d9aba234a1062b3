// Package mnsclient is a small Go client of the chat pipeline's HTTP interface,
// and of the service that it is compatible with. Methods are one request each,
// never repeated; a fault is a *chat.Error with the status and code that the
// server answered. It starts nothing.
package mnsclient
