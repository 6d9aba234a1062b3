// Package room is the pure state of one room or call: its roster, seats,
// settings, owed departures, counting and history.
//
// A Room does nothing. Apply, Tick, EdgeDied and Noticed change it in memory at
// once and return a Result: what must be committed, told and answered because
// of it. It has no clock, no goroutine, no lock and no randomness, so the same
// calls always lead to the same state and the same results. One goroutine at a
// time may use a Room.
//
// The caller's duties, in this order:
//
//  1. Commit Result.Changes. A caller that learns it was outranked throws the
//     Room away; nothing of the Result may leave then.
//  2. Let the rest out: Reply, Subscriptions, Publications, Notices, Evicted,
//     Events. Subscriptions go before Publications: who comes in gets what is
//     numbered after Subscription.Seq.
//  3. Call FlushPresence once a batch and publish what it returns.
//  4. Call Tick when Next is due, and drop the Room once it is Disposable.
//  5. After Load and Import, and after an Enter or Present that names it, call
//     EdgeDied for every edge of Edges that is known to be dead.
//
// # Roster
//
// Who is in a room is ordered by the version of the user's record: an enter,
// exit or loss that is older than what the room has seen changes nothing. Of
// the last users removed the room remembers the version, so that a late enter
// brings nobody back; that memory travels with a handover and is not journaled.
//
// An occupant is online while it has a connection, at an edge that lives. The
// journal has connection and edge; that the edge has died is not journaled, as
// its death is known to everybody who may ever own the room.
//
// # Departures
//
// The loss of an occupant is owed to those who stay: one commit takes it off
// the roster and its seat and adds the debt, and one relay is asked with an
// exit_room. The debt goes from relay to relay until one reports, the subject
// is back, nobody is left or the deadline is over. There is at most one debt
// for a subject, as coming back cancels it. In a call the other party is the
// only relay and its frame is hang_up.
//
// # Journal
//
// One entry an occupant, one a debt, one a remembered key, and one for the
// settings. Key: the room's id, ':', the kind, ':', a name. Entries of kinds
// that this version does not know are kept as they are. Entries returns what
// all Changes so far add up to.
package room
