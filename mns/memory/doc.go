// Package memory is a store of the chat pipeline in one process, for tests in
// virtual time: it reads the clock of package time and starts nothing. What it
// keeps is gone with it.
//
// A Store stands for the server, a Node for one node's connection to it. Both
// behave as the store on Redis does and pass the same suite. Queues are scanned
// from the front, so it is not meant for long ones.
package memory
