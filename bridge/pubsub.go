package bridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// probeInterval is how long a subscription may be silent before it is
	// asked for a sign of life, and how long that may take. A server that is
	// gone without a word is noticed after the two of them.
	probeInterval = time.Second
	// The pauses between attempts to subscribe.
	firstPause, longestPause = 50 * time.Millisecond, time.Second
)

// Publish sends a message to an incarnation, and answers how many heard it: 0
// when it is not subscribed. Concurrent calls share pipelines; a full queue
// refuses with ErrBusy.
func (r *Redis) Publish(ctx context.Context, to protocol.Incarnation, payload []byte) (receivers int, err error) {
	if err := checkIncarnation(to); err != nil {
		return 0, err
	}
	return r.publish(ctx, r.inboxChannel(to), payload)
}

// PublishEvent sends a message to all that subscribe to events.
func (r *Redis) PublishEvent(ctx context.Context, payload []byte) error {
	_, err := r.publish(ctx, r.eventChannel(), payload)
	return err
}

func (r *Redis) inboxChannel(inc protocol.Incarnation) string {
	return r.cfg.Prefix + ":inbox:" + string(inc)
}

func (r *Redis) eventChannel() string { return r.cfg.Prefix + ":events" }

func (r *Redis) publish(ctx context.Context, channel string, payload []byte) (int, error) {
	sharded, err := r.sharded(ctx)
	if err != nil {
		return 0, err
	}
	c := &command{name: "publish", keys: []string{channel}, args: []any{payload}, keyless: true}
	if sharded {
		c.name, c.keyless = "spublish", false
	}
	if err := r.messages.do(ctx, c); err != nil {
		return 0, err
	}
	n, err := c.int()
	if err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	return int(n), nil
}

// Subscribe hands over what is published to an incarnation, one message after
// the other, until ctx ends, and returns its error. It subscribes again for
// ever. renewed is called after each subscription, the first included: what was
// published before it may have been missed.
//
// The payload is handle's to keep. While handle runs nothing is read; a server
// that is left waiting too long drops the subscription, which is then renewed,
// so that a loss is never silent.
func (r *Redis) Subscribe(ctx context.Context, self protocol.Incarnation, handle func([]byte), renewed func()) error {
	if err := checkIncarnation(self); err != nil {
		return err
	}
	return r.listen(ctx, r.inboxChannel(self), handle, renewed)
}

// SubscribeEvents is Subscribe for the events of the whole cluster.
func (r *Redis) SubscribeEvents(ctx context.Context, handle func([]byte), renewed func()) error {
	return r.listen(ctx, r.eventChannel(), handle, renewed)
}

// listen keeps a subscription up. One that stood leads to a new attempt at
// once; after that the pauses grow.
func (r *Redis) listen(ctx context.Context, channel string, handle func([]byte), renewed func()) error {
	pause := time.Duration(0)
	for {
		stood := false
		err := r.listenOnce(ctx, channel, handle, func() {
			stood = true
			r.metrics.subscriptions.Inc()
			renewed()
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if stood {
			pause = 0
		}
		if pause == 0 {
			r.log.Warn("subscription ended, renewing it", "channel", channel, "err", err)
		} else {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
		pause = min(max(firstPause, 2*pause), longestPause)
	}
}

// listenOnce lives as long as one connection. The library would renew the
// subscription in silence, so that any error ends it here, and drop what is not
// taken in time, so that its channels are not used.
func (r *Redis) listenOnce(ctx context.Context, channel string, handle func([]byte), renewed func()) error {
	sharded, err := r.sharded(ctx)
	if err != nil {
		return err
	}
	dial, cancel := context.WithTimeout(ctx, 2*r.cfg.Timeout)
	defer cancel()
	var sub *redis.PubSub
	if sharded {
		sub = r.client.SSubscribe(dial, channel)
	} else {
		sub = r.client.Subscribe(dial, channel)
	}
	var signs signs
	probed := make(chan struct{})
	probing, stop := context.WithCancel(ctx)
	go func() {
		defer close(probed)
		defer func() { _ = sub.Close() }() // ends Receive
		probe(probing, sub, &signs)
	}()
	defer func() {
		stop()
		<-probed
	}()
	for {
		message, err := sub.ReceiveTimeout(ctx, 0)
		if err != nil {
			return err
		}
		signs.heard.Add(1)
		switch m := message.(type) {
		case *redis.Message:
			signs.handling.Store(true)
			handle([]byte(m.Payload))
			signs.handling.Store(false)
		case *redis.Subscription:
			if strings.HasSuffix(m.Kind, "unsubscribe") {
				return errors.New("the server ended the subscription")
			}
			renewed()
		}
	}
}

// signs are a subscription's signs of life.
type signs struct {
	heard    atomic.Int64
	handling atomic.Bool // nothing is read meanwhile
}

// probe returns when ctx has ended or a subscription has shown no sign of life.
func probe(ctx context.Context, sub *redis.PubSub, s *signs) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	last, asked := s.heard.Load(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		heard := s.heard.Load()
		switch {
		case heard != last || s.handling.Load():
			last, asked = heard, false
		case asked:
			return
		default:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				return
			}
		}
	}
}

// pubsubMode is how messages are published. All nodes must do it alike, so on a
// Cluster the first one settles it.
type pubsubMode struct{ settled atomic.Pointer[string] }

const (
	classic = "classic"
	sharded = "sharded"
)

func (r *Redis) sharded(ctx context.Context) (bool, error) {
	cluster, ok := r.client.(*redis.ClusterClient)
	if !ok {
		return false, nil
	}
	if mode := r.mode.settled.Load(); mode != nil {
		return *mode == sharded, nil
	}
	info, err := cluster.Info(ctx, "server").Result()
	if err != nil {
		return false, fmt.Errorf("%w: ask for the server's version: %w", protocol.ErrStoreAway, err)
	}
	c := r.call(r.scripts.negotiate, []string{r.leaseKey("pubsub")}, wanted(info))
	r.exec(ctx, []*command{c})
	mode, err := c.text()
	if err != nil {
		return false, fmt.Errorf("settle how to publish: %w", err)
	}
	r.mode.settled.Store(&mode)
	return mode == sharded, nil
}

// wanted is what a server of this version is best used with: a sharded message
// goes to one node of a Cluster, a classic one to all.
func wanted(info string) string {
	major, _, _ := strings.Cut(infoField(info, "redis_version"), ".")
	if n, err := strconv.Atoi(major); err == nil && n >= 7 {
		return sharded
	}
	return classic
}
