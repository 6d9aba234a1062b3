package inbox

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMessagesOfOnePayloadLeaveTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", Config{}.withDefaults().terms())
	for i := range 3 {
		if _, err := l.call(dawn(), Kind(2*i), nil, nil); err != nil {
			t.Fatal(err)
		}
		must(t, l.cast(Kind(2*i+1), nil))
	}
	b, sent := l.compose(dawn(), nil)
	if sent.calls != 3 || sent.casts != 3 {
		t.Fatalf("left: %+v", sent)
	}
	_, items, err := parse(b)
	must(t, err)
	for i, it := range items {
		if int(it.code) != i {
			t.Errorf("message %d is of kind %d", i, it.code)
		}
	}
}

func TestPayloadIsBounded(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", Config{MaxPayload: 1000}.withDefaults().terms())
	for range 50 {
		_, err := l.call(dawn(), 1, make([]byte, 100), nil)
		must(t, err)
	}
	_, err := l.call(dawn(), 1, make([]byte, 5000), nil)
	must(t, err)
	var sizes []int
	total := 0
	for {
		b, sent := l.compose(dawn(), nil)
		if len(b) == 0 {
			break
		}
		l.published(dawn(), 1, nil)
		total += sent.calls
		sizes = append(sizes, len(b))
		if len(b) > 1000 && sent.calls > 1 {
			t.Errorf("payload of %d bytes holds %d calls", len(b), sent.calls)
		}
	}
	if total != 51 || len(sizes) > 10 {
		t.Errorf("%d calls left in payloads of %v bytes", total, sizes)
	}
}

// What is lost is asked for by who misses it, without waiting for the repeat.
func TestGapIsRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	for i := range 3 {
		must(t, talk.call(0, 0))
		talk.compose(0)
		talk.publish(0, 1, nil, i != 0) // the first is lost
	}
	must(t, talk.drain())
	if got := len(talk.sides[1].running); got != 3 {
		t.Errorf("%d of 3 calls taken before any time has passed", got)
	}
}

func TestRenewedSubscriptionRepeatsBothWays(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	for i := range talk.sides {
		must(t, talk.call(i, 0))
		talk.compose(i)
		talk.publish(i, 1, nil, false) // both are lost
	}
	must(t, talk.drain())
	if n := len(talk.sides[0].running) + len(talk.sides[1].running); n != 0 {
		t.Fatalf("%d calls taken, nothing should have arrived", n)
	}
	talk.sides[0].link.renewed()
	must(t, talk.drain())
	if n := len(talk.sides[0].running) + len(talk.sides[1].running); n != 2 {
		t.Errorf("%d of 2 calls taken before any time has passed", n)
	}
}

// An answer that is slow holds nobody up: neither other calls, nor the memory
// of their answers.
func TestSlowAnswerHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	must(t, talk.call(0, 0))
	must(t, talk.drain())
	for n := range 100 {
		must(t, talk.call(0, 0))
		must(t, talk.drain())
		talk.answer(1, 1, 30)
		must(t, talk.drain())
		talk.now = talk.now.Add(60 * time.Millisecond)
		must(t, talk.drain())
		if held := talk.sides[1].link.answers.count; held != 0 {
			t.Fatalf("after %d calls, %d answers are held", n, held)
		}
	}
	talk.answer(1, 0, 0)
	must(t, talk.settle())
	must(t, talk.judge())
}

// Two inboxes full of each other's calls still empty: answers have their own
// lane.
func TestFullBothWays(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	limit := smallTerms().held
	for range 3 * limit { // withdrawn as soon as taken, so that the windows never fill
		for i := range talk.sides {
			must(t, talk.call(i, 0))
			must(t, talk.drain())
			must(t, talk.withdraw(i, len(talk.sides[i].calls)-1))
		}
	}
	for i, s := range talk.sides {
		if s.link.running != limit {
			t.Fatalf("side %d holds %d calls, want %d", i, s.link.running, limit)
		}
		must(t, talk.call(i, 0))
	}
	must(t, talk.settle())
	must(t, talk.judge())
}

// A receiver that had no room says when it has: nobody waits for a repeat.
func TestRoomIsAnnounced(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	s, r := talk.sides[0], talk.sides[1]
	for range smallTerms().held {
		must(t, talk.call(0, 0))
		must(t, talk.drain())
		must(t, talk.withdraw(0, len(s.calls)-1))
	}
	must(t, talk.call(0, 0))
	must(t, talk.drain())
	if !r.link.refused {
		t.Fatal("there was room")
	}
	for len(r.running) > 0 {
		talk.answer(1, 0, 0)
	}
	must(t, talk.drain())
	talk.now = talk.now.Add(smallTerms().ackDelay)
	must(t, talk.drain())
	if len(r.running) != 1 {
		t.Error("the call that was refused was not sent again")
	}
}

func TestAnswersThatCanNotBeKept(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", smallTerms())
	if l.answer(1, 0, make([]byte, l.terms.windowBytes+1)) {
		t.Error("an answer larger than a window was kept")
	}
	kept := 0
	for n := range 10 {
		if l.answer(uint64(n+2), 0, make([]byte, l.terms.windowBytes)) {
			kept++
		}
	}
	if kept != 4 || l.answers.count != 11 || l.answers.bytes > l.terms.heldBytes {
		t.Errorf("%d answers kept in %d bytes, %d entries", kept, l.answers.bytes, l.answers.count)
	}
}

// The bytes of calls that wait for their answer are bounded even if their
// sender gives them up as soon as they are taken.
func TestBytesOfRunningCallsAreBounded(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	for range 10 {
		must(t, talk.call(0, 350))
		must(t, talk.drain())
		must(t, talk.withdraw(0, len(talk.sides[0].calls)-1))
	}
	if l := talk.sides[1].link; l.running != 4 || l.runningBytes > l.terms.heldBytes {
		t.Errorf("%d calls of %d bytes are held", l.running, l.runningBytes)
	}
}

// When the word of what was taken is lost, the first repeat is told at once.
func TestRepeatIsAcknowledgedAtOnce(t *testing.T) {
	t.Parallel()
	talk := newTalk()
	talk.sides[1].link.terms.ackEvery = 100
	must(t, talk.call(0, 0))
	must(t, talk.drain())
	talk.now = talk.now.Add(smallTerms().ackDelay)
	talk.compose(1)
	talk.publish(1, 1, nil, false)
	talk.now = talk.now.Add(smallTerms().repeat)
	must(t, talk.drain())
	if s := talk.sides[0].link; s.calls.count != 0 {
		t.Error("the sender does not know that its call was taken")
	}
}

// A payload that asks for a repeat asks once, however often it arrives.
func TestRepeatIsAskedForOnce(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", smallTerms())
	_, err := l.call(dawn(), 1, nil, nil)
	must(t, err)
	var left []int
	for range 3 {
		_, sent := l.compose(dawn(), nil)
		l.published(dawn(), 1, nil)
		left = append(left, sent.calls)
		_, _, err := l.take(dawn(), header{serial: 1, repeat: true}, nil, nil)
		must(t, err)
	}
	if !slices.Equal(left, []int{1, 1, 0}) {
		t.Errorf("calls that left: %v", left)
	}
}

func TestPayloadOfWhatWasNeverSentIsRefused(t *testing.T) {
	t.Parallel()
	l := newLink("a@1", "b@1", smallTerms())
	for _, h := range []header{{callsTaken: 1}, {answersTaken: 1}} {
		if _, _, err := l.take(dawn(), h, nil, nil); !errors.Is(err, errMalformed) {
			t.Errorf("%+v: %v", h, err)
		}
	}
}
