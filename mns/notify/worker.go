package notify

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	// turn is how long a delivery over PerHost waits before it is tried again,
	// up to twice that.
	turn = time.Second
	// idleWait is how long workers wait for a delivery at a time.
	idleWait = 30 * time.Second
	// storePause is how long a store that could not be asked is left alone.
	storePause = time.Second
)

// Run delivers until ctx ends, and returns its error.
func (n *Notifier) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer n.client.close()
	for {
		free, err := n.acquire(ctx)
		if err != nil {
			return err
		}
		wait := idleWait
		messages, err := n.cfg.Receiver.Receive(ctx, chat.DeliveryQueue, min(free, chat.MaxBatch), &wait)
		for range free - len(messages) {
			<-n.slots
		}
		for _, m := range messages {
			running.Go(func() {
				defer func() { <-n.slots }()
				n.work(ctx, m)
			})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			continue
		}
		if errors.Is(err, chat.ErrQueueNotExist) {
			err = n.createQueue(ctx)
		}
		if err != nil && !pauseFor(ctx, storePause) {
			return ctx.Err()
		}
	}
}

// acquire takes all free slots, and waits for the first.
func (n *Notifier) acquire(ctx context.Context) (int, error) {
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for free := 1; ; free++ {
		if free == chat.MaxBatch {
			return free, nil
		}
		select {
		case n.slots <- struct{}{}:
		default:
			return free, nil
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// work tries one delivery. What comes of it is stored before the message is
// deleted, so that a crash repeats rather than loses.
func (n *Notifier) work(ctx context.Context, m chat.Message) {
	var d delivery
	if err := json.Unmarshal([]byte(m.Body), &d); err != nil || d.Format != deliveryFormat {
		return // of another version: visible again in time
	}
	host := d.Endpoint
	if u, err := url.Parse(d.Endpoint); err == nil && u.Host != "" {
		host = u.Host
	}
	if !n.enter(host) {
		n.stats.Postponed.Add(1)
		n.settle(ctx, m, n.enqueue(ctx, d, turn+rand.N(turn)))
		return
	}
	err := n.try(ctx, &d)
	n.leave(host)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		n.settle(ctx, m, nil)
		return
	}
	n.stats.Failed.Add(1)
	if d.Try >= tries(d.Strategy) {
		n.stats.GivenUp.Add(1)
		n.cfg.Logger.Warn("delivery given up", "topic", d.Topic, "subscription", d.To, "err", err)
		n.settle(ctx, m, nil)
		return
	}
	delay := pause(d.Strategy, d.Try)
	d.Try++
	n.settle(ctx, m, n.enqueue(ctx, d, delay))
}

func (n *Notifier) try(ctx context.Context, d *delivery) error {
	kind, _, err := chat.ParseEndpoint(d.Endpoint)
	switch {
	case err != nil:
		return err
	case kind == chat.EndpointQueue:
		return n.toQueue(ctx, d)
	case kind == chat.EndpointRoom:
		return n.toRoom(ctx, d)
	default:
		err := n.client.post(ctx, d, n.render(d))
		if err == nil {
			n.stats.Delivered.Add(1)
		}
		return err
	}
}

// settle deletes a delivery's message, unless what comes next of it could not be
// stored.
func (n *Notifier) settle(ctx context.Context, m chat.Message, stored error) {
	if stored == nil {
		_, stored = n.cfg.Store.Delete(ctx, chat.DeliveryQueue, []chat.Handle{m.Handle})
	}
	if stored != nil {
		n.cfg.Logger.Warn("delivery will be repeated", "err", stored)
	}
}

// enter takes one of a host's places.
func (n *Notifier) enter(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[host] >= n.cfg.PerHost {
		return false
	}
	n.hosts[host]++
	return true
}

func (n *Notifier) leave(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[host]--; n.hosts[host] == 0 {
		delete(n.hosts, host)
	}
}
