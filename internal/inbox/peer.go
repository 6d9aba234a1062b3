package inbox

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// peer is one other incarnation, or the own: its link, and the goroutine that
// publishes what the link composes.
type peer struct {
	// set by newPeer
	inbox *Inbox
	inc   protocol.Incarnation
	wake  chan struct{}
	gone  chan struct{} // closed by end
	ended atomic.Bool
	// missed is when a payload last met nobody, after others before it, in Unix
	// nanoseconds; 0 once one is heard.
	missed atomic.Int64

	// guarded by mu
	mu    sync.Mutex
	link  *link
	cause error // why it ended

	// owned by run
	scratch []byte
	loop    reader // of messages to ourselves
	failing bool
}

func newPeer(in *Inbox, inc protocol.Incarnation) *peer {
	return &peer{
		inbox: in, inc: inc,
		wake: make(chan struct{}, 1),
		gone: make(chan struct{}),
		link: newLink(in.cfg.Self, inc, in.cfg.terms()),
	}
}

// stir has the publishing goroutine look what there is to do.
func (p *peer) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peer) call(kind Kind, body []byte, done func([]byte, error)) (*call, error) {
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return nil, p.cause
	}
	c, err := p.link.call(time.Now(), kind, body, done)
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c.peer = p
	p.inbox.metrics.waiting.Inc()
	p.stir()
	return c, nil
}

func (p *peer) withdraw(c *call) bool {
	p.mu.Lock()
	open := p.cause == nil && p.link.withdraw(c)
	p.mu.Unlock()
	if open {
		p.inbox.metrics.waiting.Dec()
	}
	return open
}

func (p *peer) cast(kind Kind, body []byte) error {
	p.mu.Lock()
	err := p.cause
	if err == nil {
		err = p.link.cast(kind, body)
	}
	p.mu.Unlock()
	if err == nil {
		p.stir()
	}
	return err
}

// ticket is the right to answer one call.
type ticket struct {
	peer   *peer
	number uint64
	size   int
	used   atomic.Bool
}

func (t *ticket) answer(body []byte) {
	if t.used.Swap(true) {
		return
	}
	p := t.peer
	p.mu.Lock()
	kept := p.cause != nil || p.link.answer(t.number, t.size, body)
	p.mu.Unlock()
	if !kept {
		p.inbox.metrics.drop(dropAnswer, 1)
	}
	p.stir()
}

// end fails all calls with cause and forgets the link.
func (p *peer) end(cause error) {
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return
	}
	p.cause = cause
	p.ended.Store(true)
	calls := p.link.end()
	p.mu.Unlock()
	close(p.gone)
	p.inbox.metrics.waiting.Sub(float64(len(calls)))
	for _, c := range calls {
		c.done(nil, cause)
	}
}

// renewed has everything that was not taken leave again.
func (p *peer) renewed() {
	p.mu.Lock()
	p.link.renewed()
	p.mu.Unlock()
	p.stir()
}

// run publishes until the peer or ctx ends.
func (p *peer) run(ctx context.Context) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	defer p.fails(nil)
	for {
		timer.Reset(p.flush(ctx))
		select {
		case <-ctx.Done():
			return
		case <-p.gone:
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// flush publishes all that is to leave now, and returns how long the rest can
// wait.
func (p *peer) flush(ctx context.Context) time.Duration {
	for ctx.Err() == nil && !p.ended.Load() {
		if !p.inbox.cfg.MaySend() {
			return p.inbox.cfg.Repeat / 16
		}
		now := time.Now()
		p.mu.Lock()
		payload, sent := p.link.compose(now, p.scratch[:0])
		wait := p.link.wait(now)
		p.mu.Unlock()
		if len(payload) == 0 {
			return wait
		}
		receivers, err := p.publish(ctx, bytes.Clone(payload))
		p.mu.Lock()
		p.link.published(time.Now(), receivers, err)
		unheard := p.link.unheard
		p.mu.Unlock()
		p.note(unheard)
		p.inbox.metrics.published(len(payload), sent, receivers, err)
		p.fails(err)
		if p.scratch = payload; cap(payload) > 2*p.inbox.cfg.MaxPayload {
			p.scratch = nil // one large message does not stay
		}
	}
	return idle
}

const (
	// missingAfter is how many payloads in a row must have met nobody: the last of
	// them left some 50 ms after the first, and a subscription that broke stands
	// again by then.
	missingAfter = 4
	// missingFor is how long that is believed without another one.
	missingFor = 3 * time.Second
)

// note notes how many payloads in a row have met nobody.
func (p *peer) note(unheard int) {
	switch {
	case unheard >= missingAfter:
		p.missed.Store(time.Now().UnixNano())
	case unheard == 0 && p.missed.Load() != 0:
		p.missed.Store(0)
	}
}

// publish hands a payload to the transport; one to ourselves is received on the
// spot, from this goroutine alone.
func (p *peer) publish(ctx context.Context, payload []byte) (int, error) {
	if p.inc == p.inbox.cfg.Self {
		p.inbox.receive(&p.loop, payload)
		return 1, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 8*p.inbox.cfg.Repeat)
	defer cancel()
	return p.inbox.cfg.Transport.Publish(ctx, p.inc, payload)
}

// fails notes whether publishing to this peer fails. The first peer of all for
// which it does is logged, and when it does for none any more.
func (p *peer) fails(err error) {
	if failing := err != nil; failing == p.failing {
		return
	}
	p.failing = err != nil
	in := p.inbox
	switch {
	case p.failing && in.failing.Add(1) == 1:
		in.log.Warn("publish failed, messages are kept", "to", p.inc, "err", err)
	case !p.failing && in.failing.Add(-1) == 0:
		in.log.Info("publish works again", "to", p.inc)
	}
}

// receive acts on what a payload of this peer holds.
func (p *peer) receive(r *reader, h header) error {
	p.mu.Lock()
	if p.cause != nil {
		p.mu.Unlock()
		return nil
	}
	var refused refusals
	var err error
	r.deliveries, refused, err = p.link.take(time.Now(), h, r.items, r.deliveries[:0])
	p.mu.Unlock()
	if err != nil {
		return err
	}
	p.inbox.metrics.received(r.deliveries, refused)
	for i := range r.deliveries {
		p.deliver(&r.deliveries[i])
	}
	clear(r.deliveries)
	p.stir()
	return nil
}

// deliver acts on one message. Once the peer is dead only the calls that it had
// answered are ended: nobody else does.
func (p *peer) deliver(d *delivery) {
	switch {
	case d.ended != nil && d.code == statusAnswered:
		d.ended.done(d.body, nil)
	case d.ended != nil:
		d.ended.done(nil, ErrNoAnswer)
	case p.ended.Load():
	case d.tag == tagCast:
		p.inbox.cfg.Cast(p.inc, Kind(d.code), d.body)
	default:
		t := &ticket{peer: p, number: d.number, size: len(d.body)}
		p.inbox.cfg.Handle(p.inc, Kind(d.code), d.body, t.answer)
	}
}
