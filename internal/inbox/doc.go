// Package inbox carries messages between incarnations, reliably, over a
// transport that may lose, repeat, delay and reorder them.
//
// A call is repeated by its sender until the receiver has taken it, which
// happens once, in the order in which the sender made its calls, and is
// answered once, whenever the receiver likes. A call ends without an answer
// only if one of the two dies or the caller gives up; then it may have been
// acted on or not. A cast is a message that may be lost and is never repeated.
// The transport remembers nothing for us.
//
// # Two lanes
//
// Between two incarnations run two lanes in each direction, one of calls and
// one of answers. Entries of a lane are numbered from 1. The receiver takes an
// entry only if it took the one before, so that all it has to remember of a
// lane is the number it takes next: anything lower was taken already, anything
// further waits for the repeat of what is missing. That number travels back
// with every payload, and the sender forgets what lies below it. An entry also
// names the entry before it, so that a call that its caller gave up leaves no
// hole to wait for.
//
// Answers have their own lane because calls may be refused for a while, when
// the receiver holds as many as it can, and answers never are: two inboxes that
// are full of each other's calls still empty.
//
// A sender with nothing taken repeats after Config.Repeat, doubling up to eight
// times that, one payload at a time until the other side is heard to take
// again. It repeats at once when the transport says that nobody listened, when
// its own subscription was renewed, and when the other side says that it misses
// something or that its subscription was renewed.
//
// # Goroutines
//
// All of them are started by Run and end with it: one that listens, and for
// each incarnation spoken with one that publishes. One publish to an
// incarnation is under way at a time, and what is queued meanwhile leaves
// together in the next, so there is coalescing without any timer. Messages to
// the own incarnation take the same path save the transport.
//
// The package knows nothing of what it carries, nor who is alive: Dead tells
// it.
package inbox
