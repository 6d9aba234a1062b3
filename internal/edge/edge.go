package edge

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/faac1247/rollcall/internal/auth"
	"github.com/faac1247/rollcall/protocol"
)

// Users is the store of users' records, as far as connections change them.
type Users interface {
	Connect(context.Context, protocol.Connect) (protocol.Connected, error)
	Close(context.Context, protocol.Close) (protocol.Closed, error)
}

// Owners is how an edge reaches the owners of rooms, wherever they are.
type Owners interface {
	// Do asks the owner of cmd.Room and waits for the answer or the context.
	Do(context.Context, protocol.Command) protocol.Reply
	// Tell passes on the intent of a Close that won: the node tells the owners
	// and settles it. It never blocks.
	Tell(protocol.Intent)
	// Supersede asks another edge to close its connection of user that is older
	// than conn. It never blocks.
	Supersede(edge protocol.Incarnation, user protocol.UserID, conn protocol.ConnNumber)
}

// Mover changes where a user is, on behalf of clients that may.
type Mover interface {
	Enter(ctx context.Context, user protocol.UserID, room protocol.RoomID, profile protocol.Profile) protocol.Reply
	Exit(ctx context.Context, user protocol.UserID, room protocol.RoomID) protocol.Reply
	StartCall(ctx context.Context, call protocol.RoomID, caller, receiver protocol.UserID) protocol.Reply
	EndCall(ctx context.Context, call protocol.RoomID, user protocol.UserID) protocol.Reply
}

// Authenticator tells who a sid is. Its errors wrap auth.ErrUnknown or
// auth.ErrUnavailable.
type Authenticator interface {
	Authenticate(ctx context.Context, sid string) (auth.Identity, error)
}

// SignMode says which signatures of frames are accepted.
type SignMode string

const (
	SignHMAC SignMode = "hmac"
	SignMD5  SignMode = "md5"
	SignBoth SignMode = "both"
	SignOff  SignMode = "off"
)

// Config of an Edge.
type Config struct {
	Incarnation protocol.Incarnation
	Users       Users
	Owners      Owners
	Mover       Mover
	Auth        Authenticator
	// Partition and RoomPartition place users' records and rooms.
	Partition     func(protocol.UserID) protocol.PartitionID
	RoomPartition func(protocol.RoomID) protocol.PartitionID
	// Partitions is how many there are.
	Partitions int

	SignMode         SignMode
	PingInterval     time.Duration
	HeartbeatTimeout time.Duration
	LossGrace        time.Duration

	MaxConns         int
	MaxConnsPerIP    int
	AllowedOrigins   []string
	TrustedProxies   []netip.Prefix
	FrameRate        float64
	MaxBacklogBytes  int
	MaxBacklogFrames int

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Edge holds the connections of one node.
type Edge struct{}

// New returns an Edge that refuses every connection until Run is called.
func New(cfg Config) (*Edge, error) { return &Edge{}, nil }

// Run serves until ctx ends.
func (e *Edge) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// ServeHTTP upgrades requests for / and /ws.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Publish delivers publications of rooms. It does not block and does not keep
// the slices.
func (e *Edge) Publish(pubs []protocol.Publication) {}

// Notify delivers one frame to one user.
func (e *Edge) Notify(n protocol.Notice) protocol.NoticeOutcome { return protocol.NoticeGone }

// Subscribe adds connections to rooms and takes them out. It returns those
// that name a connection which is not here.
func (e *Edge) Subscribe(subs []protocol.Subscription) (refused []protocol.Subscription) { return nil }

// Attach compares an owner's list with what is here.
func (e *Edge) Attach(a protocol.Attach) protocol.Attached { return protocol.Attached{} }

// Superseded closes the user's connection if it is older than conn.
func (e *Edge) Superseded(user protocol.UserID, conn protocol.ConnNumber) {}

// Kick closes the user's connection. It reports whether there was one.
func (e *Edge) Kick(user protocol.UserID, reason string) bool { return false }

// SessionInfo is what an edge knows of a connected user.
type SessionInfo struct {
	User    protocol.UserID
	Conn    protocol.ConnNumber
	Version protocol.Version
	Room    protocol.RoomID
	Call    protocol.RoomID
	Since   time.Time
	V2      bool
}

// Sessions calls yield for every connected user: for s := range e.Sessions.
func (e *Edge) Sessions(yield func(SessionInfo) bool) {}

// Session returns one user's.
func (e *Edge) Session(user protocol.UserID) (SessionInfo, bool) { return SessionInfo{}, false }

// Event is one line of a user's timeline.
type Event struct {
	At     time.Time           `json:"at"`
	Event  string              `json:"event"`
	User   protocol.UserID     `json:"user_id"`
	Conn   protocol.ConnNumber `json:"conn,omitempty"`
	Room   protocol.RoomID     `json:"room,omitempty"`
	Reason string              `json:"reason,omitempty"`
}

// Timeline returns the last events of a user that this edge remembers, oldest
// first.
func (e *Edge) Timeline(user protocol.UserID) []Event { return nil }

// DrainPlan says how to send everybody away.
type DrainPlan struct {
	// PerSecond is how many connections are closed a second; 0 is all at once.
	PerSecond int
	// RetryAfter is told to each client, which comes back after a random part.
	RetryAfter time.Duration
}

// Drain sends every client elsewhere and returns when all are gone or ctx ends.
func (e *Edge) Drain(ctx context.Context, plan DrainPlan) error { return nil }

// Hold keeps new sockets waiting: the store is away.
func (e *Edge) Hold() {}

// Release lets held sockets go on.
func (e *Edge) Release() {}

// Count returns the number of connections.
func (e *Edge) Count() int { return 0 }

// Check returns every invariant that is broken now.
func (e *Edge) Check() []error { return nil }
