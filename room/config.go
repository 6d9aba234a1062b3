package room

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Config is what all rooms of a node have in common. Zero fields take their
// defaults.
type Config struct {
	// Node is named in views as the one that owns the room.
	Node protocol.NodeID
	// Seats is how many a voice room has that nobody configured. Default 8.
	Seats int
	// ReportTimeout is how long a relay has to report before the next one is
	// asked. Default 5s.
	ReportTimeout time.Duration
	// DepartureDeadline is how long a departure is owed. Default 60s.
	DepartureDeadline time.Duration
	// NeverConnected is how long an occupant may be in the room without having
	// had a connection, and how long a call may lack its second party. Default
	// 30s.
	NeverConnected time.Duration
	// EdgeGrace is a long stop: how long after the death of its edge an
	// occupant stays of whom nothing more is heard. The loss normally comes
	// from the user's record and sooner, after the crash grace, which this must
	// exceed. Default 30s.
	EdgeGrace time.Duration
	// KeepEmpty is how long a configured room outlives its last occupant,
	// unless its own settings say otherwise. Default 10m.
	KeepEmpty time.Duration
	// HistoryFrames, HistoryBytes and HistoryAge bound what a room keeps of its
	// publications for those who missed some; the oldest go first. The age is
	// what frees the memory of rooms that have gone quiet. Defaults 256, 256 KiB
	// and 2m.
	HistoryFrames int
	HistoryBytes  int
	HistoryAge    time.Duration
	// MaxOccupants is the size at which a room refuses newcomers with
	// CodeRoomFull. Default 100,000.
	MaxOccupants int
	// MaxDebts bounds the departures that a room is owed; the oldest is given
	// up, with an event unreported. Default 100,000: what is lost when all but
	// one of the largest room drop at once.
	MaxDebts int
	// RelayOnly sends what is published to a room to one relay, which passes
	// it on, as the original app did.
	RelayOnly bool
	// Format is the number of the journal format to write. Default and only
	// one: 1.
	Format int
}

const (
	// format is the journal format that this version writes and reads.
	format = 1

	maxSeats       = 1024
	maxFrame       = 64 << 10 // bytes of one publication
	maxProfile     = 4 << 10  // bytes of one profile
	maxChannelName = 1 << 10  // bytes
	maxKey         = 512      // bytes of an idempotency key
	maxReason      = 64       // bytes; the rest is cut off

	// busyAt is the number of unreported departures asked of one relay from
	// which on others are asked first.
	busyAt = 32
	// maxAsked bounds the relays of one departure whose report counts; the one
	// that was asked longest ago is forgotten, and may be asked again. A relay a
	// second until the default deadline is less.
	maxAsked = 64
	// keysKept is how many idempotency keys of changes a room remembers, and
	// unstoredKept how many that are not journaled: those of publications, which
	// are many and not journaled themselves, and those of a room that is over.
	keysKept     = 16
	unstoredKept = 64
	// removedKept is how many users' last versions a room remembers.
	removedKept = 64
	// namedAtMost is the size above which presence frames name nobody.
	namedAtMost = 200

	pageDefault = 100
	pageMax     = 1000
)

// Validate returns every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	fault := func(bad bool, name string, value any) {
		if bad {
			faults = append(faults, fmt.Errorf("room: %s can't be %v", name, value))
		}
	}
	fault(c.Seats < 0 || c.Seats > maxSeats, "Seats", c.Seats)
	fault(c.ReportTimeout < 0, "ReportTimeout", c.ReportTimeout)
	fault(c.DepartureDeadline < 0, "DepartureDeadline", c.DepartureDeadline)
	fault(c.NeverConnected < 0, "NeverConnected", c.NeverConnected)
	fault(c.EdgeGrace < 0, "EdgeGrace", c.EdgeGrace)
	fault(c.KeepEmpty < 0, "KeepEmpty", c.KeepEmpty)
	fault(c.HistoryFrames < 0, "HistoryFrames", c.HistoryFrames)
	fault(c.HistoryBytes < 0, "HistoryBytes", c.HistoryBytes)
	fault(c.HistoryAge < 0, "HistoryAge", c.HistoryAge)
	fault(c.MaxOccupants < 0, "MaxOccupants", c.MaxOccupants)
	fault(c.MaxDebts < 0, "MaxDebts", c.MaxDebts)
	fault(c.Format != 0 && c.Format != format, "Format", c.Format)
	return errors.Join(faults...)
}

// WithDefaults returns c with every zero field set to its default. Rooms share
// a Config that is complete, and copy one that is not.
func (c Config) WithDefaults() Config {
	c.Seats = cmp.Or(c.Seats, 8)
	c.ReportTimeout = cmp.Or(c.ReportTimeout, 5*time.Second)
	c.DepartureDeadline = cmp.Or(c.DepartureDeadline, time.Minute)
	c.NeverConnected = cmp.Or(c.NeverConnected, 30*time.Second)
	c.EdgeGrace = cmp.Or(c.EdgeGrace, 30*time.Second)
	c.KeepEmpty = cmp.Or(c.KeepEmpty, 10*time.Minute)
	c.HistoryFrames = cmp.Or(c.HistoryFrames, 256)
	c.HistoryBytes = cmp.Or(c.HistoryBytes, 256<<10)
	c.HistoryAge = cmp.Or(c.HistoryAge, 2*time.Minute)
	c.MaxOccupants = cmp.Or(c.MaxOccupants, 100_000)
	c.MaxDebts = cmp.Or(c.MaxDebts, 100_000)
	c.Format = cmp.Or(c.Format, format)
	return c
}

// complete returns c itself if no default is missing, else a completed copy.
func (c *Config) complete() *Config {
	full := c.WithDefaults()
	if full == *c {
		return c
	}
	return &full
}
