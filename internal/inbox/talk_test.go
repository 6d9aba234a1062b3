package inbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// dawn is when pure tests begin.
func dawn() time.Time { return time.Unix(1_700_000_000, 0) }

func smallTerms() terms {
	c := Config{Window: 4, WindowBytes: 400, MaxPayload: 150}
	return c.withDefaults().terms()
}

// told is one call or cast of the model: what has happened to it.
type told struct {
	call      *call
	sequence  uint64
	withdrawn bool
	acted     int
	ended     int
}

// side is one link of the model and what its user has seen.
type side struct {
	link    *link
	calls   []*told
	casts   []*told
	running []delivery // calls of the other side that we have not answered
	// the highest sequence of the other side's calls and casts acted on
	lastCall, lastCast uint64

	flying   []byte // between compose and published
	mail     [][]byte
	sequence uint64
}

// talk is two links and everything that is under way between them. Its methods
// return what they find wrong.
type talk struct {
	now   time.Time
	sides [2]*side
}

func newTalk() *talk {
	names := [2]protocol.Incarnation{"a@1", "b@1"}
	t := &talk{now: dawn()}
	for i := range t.sides {
		t.sides[i] = &side{link: newLink(names[i], names[1-i], smallTerms())}
	}
	return t
}

// body is a sequence number, filled up to size.
func (s *side) body(size int) []byte {
	s.sequence++
	return append(binary.BigEndian.AppendUint64(nil, s.sequence), make([]byte, size)...)
}

func (t *talk) call(i, size int) error {
	s := t.sides[i]
	body := s.body(size)
	c := &told{sequence: s.sequence}
	full := len(s.link.waiting) >= s.link.terms.window || s.link.waitingBytes+len(body) > s.link.terms.windowBytes
	var err error
	c.call, err = s.link.call(t.now, 1, body, func([]byte, error) {})
	switch {
	case full != errors.Is(err, ErrFull):
		return fmt.Errorf("window of %d calls with %d bytes: %v", len(s.link.waiting), s.link.waitingBytes, err)
	case err == nil:
		s.calls = append(s.calls, c)
	}
	return nil
}

func (t *talk) cast(i, size int) {
	s := t.sides[i]
	body := s.body(size)
	if s.link.cast(2, body) == nil {
		s.casts = append(s.casts, &told{sequence: s.sequence})
	}
}

func (t *talk) withdraw(i, pick int) error {
	s := t.sides[i]
	if len(s.calls) == 0 {
		return nil
	}
	c := s.calls[pick%len(s.calls)]
	open := c.ended == 0 && !c.withdrawn
	if s.link.withdraw(c.call) != open {
		return fmt.Errorf("withdrawal of call %d, open %v", c.sequence, open)
	}
	c.withdrawn = c.withdrawn || open
	return nil
}

func (t *talk) answer(i, pick, size int) {
	s := t.sides[i]
	if len(s.running) == 0 {
		return
	}
	pick %= len(s.running)
	d := s.running[pick]
	s.running = slices.Delete(s.running, pick, pick+1)
	s.link.answer(d.number, len(d.body), append(slices.Clone(d.body[:8]), make([]byte, size)...))
}

// compose takes a payload off a link; what becomes of it is said to publish.
func (t *talk) compose(i int) {
	s := t.sides[i]
	if s.flying != nil {
		return
	}
	if b, _ := s.link.compose(t.now, nil); len(b) > 0 {
		s.flying = b
	}
}

func (t *talk) publish(i, receivers int, err error, arrives bool) {
	s := t.sides[i]
	if s.flying == nil {
		return
	}
	if arrives {
		t.sides[1-i].mail = append(t.sides[1-i].mail, s.flying)
	}
	s.flying = nil
	s.link.published(t.now, receivers, err)
}

// deliver hands a payload that is under way to its receiver. It goes on being
// under way, if it is kept.
func (t *talk) deliver(i, pick int, keep bool) error {
	s, from := t.sides[i], t.sides[1-i]
	if len(s.mail) == 0 {
		return nil
	}
	pick %= len(s.mail)
	payload := s.mail[pick]
	if !keep {
		s.mail = slices.Delete(s.mail, pick, pick+1)
	}
	h, items, err := parse(payload)
	if err != nil {
		return err
	}
	out, _, err := s.link.take(t.now, h, items, nil)
	if err != nil {
		return err
	}
	for _, d := range out {
		sequence := binary.BigEndian.Uint64(append(slices.Clone(d.body), make([]byte, 8)...))
		switch {
		case d.ended != nil:
			err = s.ended(d, sequence)
		case d.tag == tagCall:
			s.running = append(s.running, d)
			err = act(from.calls, sequence, &s.lastCall)
		default:
			err = act(from.casts, sequence, &s.lastCast)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// act notes that a message was acted on: once, and in order.
func act(sent []*told, sequence uint64, last *uint64) error {
	if sequence <= *last {
		return fmt.Errorf("message %d acted on after %d", sequence, *last)
	}
	*last = sequence
	for _, m := range sent {
		if m.sequence == sequence {
			m.acted++
			return nil
		}
	}
	return fmt.Errorf("message %d was never sent", sequence)
}

func (s *side) ended(d delivery, sequence uint64) error {
	for _, c := range s.calls {
		if c.call != d.ended {
			continue
		}
		c.ended++
		switch {
		case c.withdrawn, c.ended > 1:
			return fmt.Errorf("call %d ended again", c.sequence)
		case c.acted != 1:
			return fmt.Errorf("call %d answered, acted on %d times", c.sequence, c.acted)
		case d.code == statusAnswered && sequence != c.sequence:
			return fmt.Errorf("call %d has the answer of %d", c.sequence, sequence)
		}
		return nil
	}
	return fmt.Errorf("answer to nothing")
}

// check compares the bounds with what is held.
func (t *talk) check() error {
	for _, s := range t.sides {
		l := s.link
		switch {
		case len(l.waiting) > l.terms.window || l.waitingBytes > l.terms.windowBytes:
			return fmt.Errorf("window of %d calls, %d bytes", len(l.waiting), l.waitingBytes)
		case l.calls.count > len(l.waiting):
			return fmt.Errorf("%d calls kept, %d wait", l.calls.count, len(l.waiting))
		case l.running+l.answers.count > l.terms.held:
			return fmt.Errorf("%d calls held, %d answers", l.running, l.answers.count)
		case l.running != len(s.running):
			return fmt.Errorf("%d calls run, not %d", len(s.running), l.running)
		case l.answers.bytes > l.terms.heldBytes:
			return fmt.Errorf("%d bytes of answers held", l.answers.bytes)
		case l.casts.count > l.terms.casts || l.casts.bytes > l.terms.windowBytes:
			return fmt.Errorf("%d casts, %d bytes", l.casts.count, l.casts.bytes)
		}
		for _, ln := range []*lane{&l.calls, &l.answers} {
			if err := ln.check(); err != nil {
				return err
			}
			if ln.held && s.flying == nil && ln.due.IsZero() {
				return errors.New("a lane is held and will never leave again")
			}
			if ln.waits() && ln.cursor == nil && s.flying == nil && ln.due.IsZero() {
				return errors.New("a lane waits and will never repeat")
			}
		}
	}
	return nil
}

// check compares a lane's sums and order with what it holds.
func (l *lane) check() error {
	count, size, before, unsent := 0, 0, l.taken, false
	for e := l.head; e != nil; e = e.next {
		count++
		size += len(e.body)
		if e.number <= before || unsent && e.sent {
			return fmt.Errorf("entry %d after %d, sent %v", e.number, before, e.sent)
		}
		before, unsent = e.number, !e.sent
	}
	if count != l.count || size != l.bytes || before > l.last {
		return fmt.Errorf("%d entries of %d bytes, counted %d of %d", count, size, l.count, l.bytes)
	}
	return nil
}

// settle ends all faults and lets time pass until both links are at rest.
func (t *talk) settle() error {
	for round := range 10_000 {
		for i, s := range t.sides {
			t.compose(i)
			t.publish(i, 1, nil, true)
			for len(s.mail) > 0 {
				if err := t.deliver(i, 0, false); err != nil {
					return err
				}
			}
			for len(s.running) > 0 {
				t.answer(i, 0, 0)
			}
		}
		if err := t.check(); err != nil {
			return fmt.Errorf("settling, round %d: %w", round, err)
		}
		wait := min(t.sides[0].link.wait(t.now), t.sides[1].link.wait(t.now))
		if wait == idle {
			return nil
		}
		t.now = t.now.Add(wait)
	}
	return errors.New("the talk does not come to rest")
}

// judge tells whether every message got what was promised.
func (t *talk) judge() error {
	for _, s := range t.sides {
		for _, c := range s.calls {
			if !c.withdrawn && (c.acted != 1 || c.ended != 1) || c.acted > 1 {
				return fmt.Errorf("call %d, withdrawn %v: acted on %d times, ended %d times",
					c.sequence, c.withdrawn, c.acted, c.ended)
			}
		}
		l := s.link
		if len(l.waiting)+l.calls.count+l.answers.count+l.casts.count+l.waitingBytes+l.runningBytes > 0 {
			return fmt.Errorf("at rest, %d calls wait, %d are untaken, %d answers", len(l.waiting), l.calls.count, l.answers.count)
		}
	}
	return nil
}

// TestTalkThroughAnything has an adversary lose, repeat, delay and reorder
// payloads, lie about what became of them and let time pass: every call that is
// not withdrawn is acted on exactly once, in order, and has its own answer, and
// no bound is broken at any moment.
func TestTalkThroughAnything(t *testing.T) {
	t.Parallel()
	for range 30 { // runs of the usual number of talks, at 60 µs each
		rapid.Check(t, talkThroughAnything)
	}
}

func talkThroughAnything(rt *rapid.T) {
	talk := newTalk()
	side := func() int { return rapid.IntRange(0, 1).Draw(rt, "side") }
	pick := func() int { return rapid.IntRange(0, 99).Draw(rt, "pick") }
	size := func() int { return rapid.SampledFrom([]int{0, 30, 120, 350}).Draw(rt, "size") }
	must := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"":         func(*rapid.T) { must(talk.check()) },
		"call":     func(*rapid.T) { must(talk.call(side(), size())) },
		"calls":    func(*rapid.T) { must(talk.call(0, 0)); must(talk.call(0, 0)); must(talk.call(1, 0)) },
		"cast":     func(*rapid.T) { talk.cast(side(), size()) },
		"withdraw": func(*rapid.T) { must(talk.withdraw(side(), pick())) },
		"answer":   func(*rapid.T) { talk.answer(side(), pick(), size()) },
		"compose":  func(*rapid.T) { talk.compose(side()) },
		"heard":    func(*rapid.T) { talk.publish(side(), 1, nil, true) },
		"lost":     func(*rapid.T) { talk.publish(side(), 1, nil, false) },
		"nobody":   func(*rapid.T) { talk.publish(side(), 0, nil, false) },
		"failed":   func(*rapid.T) { talk.publish(side(), 0, protocol.ErrStoreAway, rapid.Bool().Draw(rt, "arrives")) },
		"flow": func(*rapid.T) {
			i := side()
			talk.compose(i)
			talk.publish(i, 1, nil, true)
			must(talk.deliver(1-i, 0, false))
		},
		"deliver": func(*rapid.T) { must(talk.deliver(side(), pick(), false)) },
		"repeat":  func(*rapid.T) { must(talk.deliver(side(), pick(), true)) },
		"wait": func(*rapid.T) {
			talk.now = talk.now.Add(time.Duration(rapid.IntRange(1, 600).Draw(rt, "ms")) * time.Millisecond)
		},
		"renewed": func(*rapid.T) { talk.sides[side()].link.renewed() },
	})
	must(talk.settle())
	must(talk.judge())
}

// drain publishes and takes until neither side has anything to say at once.
func (t *talk) drain() error {
	for range 1000 {
		quiet := true
		for i := range t.sides {
			if t.sides[i].link.ready(t.now) {
				quiet = false
			}
			t.compose(i)
			t.publish(i, 1, nil, true)
			for len(t.sides[1-i].mail) > 0 {
				if err := t.deliver(1-i, 0, false); err != nil {
					return err
				}
			}
		}
		if quiet {
			return nil
		}
	}
	return errors.New("the talk does not end")
}
