// Package chat is the vocabulary of the chat pipeline: queues and their
// messages, topics and their subscriptions, what may be asked of the store that
// keeps them, and the errors that a client is told.
//
// It knows no transport: package mns speaks HTTP and websocket, a store keeps
// the state, and both use these words. It imports the standard library only and
// starts nothing.
package chat
