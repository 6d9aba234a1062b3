package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// Store is where deliveries wait.
type Store interface {
	CreateQueue(ctx context.Context, q chat.QueueName, s chat.QueueSettings) (chat.Queue, bool, error)
	Send(ctx context.Context, q chat.QueueName, drafts []chat.Draft) ([]chat.Sent, error)
	Delete(ctx context.Context, q chat.QueueName, handles []chat.Handle) ([]*chat.Error, error)
}

// Receiver waits for deliveries.
type Receiver interface {
	Receive(ctx context.Context, q chat.QueueName, max int, wait *time.Duration) ([]chat.Message, error)
}

// Config of a Notifier. Store and Receiver are required.
type Config struct {
	Store    Store
	Receiver Receiver
	// Rooms says something to the occupants of a room, once for each key. That
	// there are none is no error. It is nil where rooms are no endpoints.
	Rooms func(ctx context.Context, room, key, body string) error
	// Account is the owner of topics in notifications.
	Account string
	// Workers is how many deliveries run at once, 32 by default, PerHost how
	// many of them to one host, 8; over it a delivery waits its turn in the
	// queue.
	Workers, PerHost int
	// Timeout is how long an endpoint may take, 5 s by default.
	Timeout time.Duration
	// Allow decides which addresses endpoints may have. By default all but
	// link-local, multicast and unspecified ones.
	Allow  func(netip.Addr) bool
	Logger *slog.Logger
}

// Stats count since New.
type Stats struct {
	// Delivered, Failed and GivenUp count tries that went well, tries that did
	// not, and deliveries whose last try did not. Postponed were over PerHost.
	Delivered, Failed, GivenUp, Postponed atomic.Int64
}

// Notifier delivers. It is safe for concurrent use.
type Notifier struct {
	// set by New
	cfg    Config
	client *client
	stats  Stats
	slots  chan struct{}

	// guarded by mu
	mu    sync.Mutex
	hosts map[string]int // deliveries under way, bounded by Workers
}

// New returns a Notifier.
func New(cfg Config) *Notifier {
	if cfg.Workers == 0 {
		cfg.Workers = 32
	}
	if cfg.PerHost == 0 {
		cfg.PerHost = 8
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Allow == nil {
		cfg.Allow = allowed
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Notifier{
		cfg: cfg, client: newClient(cfg), hosts: map[string]int{},
		slots: make(chan struct{}, cfg.Workers),
	}
}

// Stats returns the counts, which go on changing.
func (n *Notifier) Stats() *Stats { return &n.stats }

// delivery is one publication for one subscription, as it waits in the queue.
type delivery struct {
	Format      int                   `json:"v"`
	Try         int                   `json:"try"` // of the next try, from 1
	Topic       chat.TopicName        `json:"topic"`
	To          chat.SubscriptionName `json:"to"`
	Endpoint    string                `json:"endpoint"`
	Strategy    chat.Strategy         `json:"strategy"`
	Look        chat.Format           `json:"look"`
	Publication publication           `json:"publication"`
}

type publication struct {
	ID   chat.MessageID `json:"id"`
	Body string         `json:"body"`
	MD5  string         `json:"md5"`
	Tag  chat.Tag       `json:"tag,omitempty"`
	At   time.Time      `json:"at"`
}

// deliveryFormat numbers the form of deliveries; others are left for nodes that
// know them.
const deliveryFormat = 1

// Deliver sees to it that a subscription gets a publication. It returns once
// that is certain.
func (n *Notifier) Deliver(ctx context.Context, s chat.Subscription, p *chat.Publication) error {
	d := delivery{
		Format: deliveryFormat, Try: 1, Topic: p.Topic, To: s.Name, Endpoint: s.Endpoint, Strategy: s.Strategy,
		Look:        s.ShownFormat(),
		Publication: publication{ID: p.ID, Body: p.Body, MD5: p.MD5, Tag: p.Tag, At: p.At},
	}
	var err error
	switch s.Kind() {
	case chat.EndpointQueue:
		if err = n.toQueue(ctx, &d); !errors.Is(err, chat.ErrQueueNotExist) {
			return err
		}
	case chat.EndpointRoom:
		if err = n.toRoom(ctx, &d); err == nil {
			return nil
		}
	default:
		return n.enqueue(ctx, d, 0)
	}
	n.stats.Failed.Add(1)
	d.Try = 2
	return n.enqueue(ctx, d, pause(d.Strategy, 1))
}

// toQueue sends a delivery to the queue that is its endpoint.
func (n *Notifier) toQueue(ctx context.Context, d *delivery) error {
	_, queue, err := chat.ParseEndpoint(d.Endpoint)
	if err != nil {
		return err
	}
	body := string(n.render(d))
	draft := chat.Draft{ID: d.Publication.ID, Body: body, MD5: chat.Digest(body), Priority: chat.DefaultPriority}
	sent, err := n.cfg.Store.Send(ctx, queue, []chat.Draft{draft})
	if err != nil {
		return err
	}
	if sent[0].Err != nil {
		// It will not fit next time either.
		n.stats.GivenUp.Add(1)
		n.cfg.Logger.Warn("publication does not fit its queue", "topic", d.Topic, "queue", queue, "err", sent[0].Err)
		return nil
	}
	n.stats.Delivered.Add(1)
	return nil
}

// toRoom says a delivery to the occupants of the room that is its endpoint.
func (n *Notifier) toRoom(ctx context.Context, d *delivery) error {
	if n.cfg.Rooms == nil {
		return errNoRooms
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Timeout)
	defer cancel()
	room := chat.Subscription{Endpoint: d.Endpoint}.Room()
	if err := n.cfg.Rooms(ctx, room, string(d.Publication.ID), string(n.render(d))); err != nil {
		return err
	}
	n.stats.Delivered.Add(1)
	return nil
}

// errNoRooms fails a delivery that another node may make.
var errNoRooms = errors.New("this node has no rooms")

func (n *Notifier) render(d *delivery) []byte {
	p := d.Publication
	note := wire.Notification{
		Owner: n.cfg.Account, Subscriber: n.cfg.Account, Subscription: d.To,
		Publication: &chat.Publication{Topic: d.Topic, ID: p.ID, Body: p.Body, MD5: p.MD5, Tag: p.Tag, At: p.At},
	}
	return note.Encode(d.Look)
}

// enqueue puts a delivery into the queue, due after a delay.
func (n *Notifier) enqueue(ctx context.Context, d delivery, delay time.Duration) error {
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("deliver to subscription %q: %w", d.To, err)
	}
	draft := chat.Draft{ID: d.Publication.ID, Body: string(body), Priority: chat.DefaultPriority, Delay: &delay}
	for {
		sent, err := n.cfg.Store.Send(ctx, chat.DeliveryQueue, []chat.Draft{draft})
		switch {
		case errors.Is(err, chat.ErrQueueNotExist):
			if err := n.createQueue(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case sent[0].Err != nil:
			return sent[0].Err
		}
		return nil
	}
}

// createQueue makes the queue in which deliveries wait.
func (n *Notifier) createQueue(ctx context.Context) error {
	s := chat.DefaultQueueSettings()
	s.Visibility = 2*n.cfg.Timeout + 20*time.Second
	s.Retention = chat.TopicRetention
	s.MaxMessageSize = 1 << 20
	_, _, err := n.cfg.Store.CreateQueue(ctx, chat.DeliveryQueue, s)
	return err
}

// tries is how often a strategy tries in all.
func tries(s chat.Strategy) int {
	if s == chat.Decay {
		return 177
	}
	return 4
}

// pause is how long a strategy waits after a try, counted from 1.
func pause(s chat.Strategy, try int) time.Duration {
	if s == chat.Decay {
		return time.Second << min(try-1, 9)
	}
	return 10*time.Second + rand.N(10*time.Second)
}

// allowed is the default of Config.Allow: what belongs to the machine or the
// link that we happen to be on is nobody's endpoint.
func allowed(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}
