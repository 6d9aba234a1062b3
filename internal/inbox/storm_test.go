package inbox

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/protocol"
)

// weather is what happens from one moment of a storm to the next.
type weather struct {
	faults faults
	lasts  time.Duration
	renews []int // whose subscriptions are renewed at its end
	dies   bool  // the last of the living is killed and declared dead
}

// errand is one call of a storm.
type errand struct {
	at       time.Duration
	from, to int
	answerIn time.Duration
	giveUpIn time.Duration // 0: never
}

// storm is a whole schedule of faults, drawn before anything runs.
type storm struct {
	seed    uint64
	weather []weather
	errands []errand
}

const stormActors = 4

func drawStorm(t *rapid.T) storm {
	ms := func(most int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, most), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	chance := rapid.SampledFrom([]float64{0, 0, 0.1, 0.5, 0.9})
	s := storm{seed: rapid.Uint64().Draw(t, "seed")}
	for range rapid.IntRange(1, 6).Draw(t, "weathers") {
		s.weather = append(s.weather, weather{
			faults: faults{
				lose: chance.Draw(t, "lose"), repeat: chance.Draw(t, "repeat"),
				nobody: chance.Draw(t, "nobody"), fail: chance.Draw(t, "fail"),
				delay: ms(300).Draw(t, "delay"),
				away:  rapid.IntRange(0, 5).Draw(t, "away") == 0,
				hang:  rapid.IntRange(0, 5).Draw(t, "hang") == 0,
			},
			lasts:  ms(3000).Draw(t, "lasts"),
			renews: rapid.SliceOfN(rapid.IntRange(0, stormActors-1), 0, 2).Draw(t, "renews"),
			dies:   rapid.IntRange(0, 9).Draw(t, "dies") == 0,
		})
	}
	node := rapid.IntRange(0, stormActors-1)
	for range rapid.IntRange(1, 150).Draw(t, "errands") {
		s.errands = append(s.errands, errand{
			at: ms(8000).Draw(t, "at"), from: node.Draw(t, "from"), to: node.Draw(t, "to"),
			answerIn: rapid.OneOf(rapid.Just(time.Duration(0)), ms(1000)).Draw(t, "answer in"),
			giveUpIn: rapid.OneOf(rapid.Just(time.Duration(0)), ms(1000)).Draw(t, "give up in"),
		})
	}
	slices.SortStableFunc(s.errands, func(a, b errand) int { return cmp.Compare(a.at, b.at) })
	return s
}

// ledger is what becomes of each errand.
type ledger struct {
	storm storm

	mu    sync.Mutex
	fates []fate
	last  map[[2]int]int // the latest errand acted on, from one to another
	wrong []string       // what must not happen
}

type fate struct {
	acted, ended int
	err          error
}

func (l *ledger) complain(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// act acts on an errand, at an actor.
func (l *ledger) act(at int, body []byte, answer func([]byte)) {
	l.mu.Lock()
	n := int(binary.BigEndian.Uint16(body))
	e := l.storm.errands[n]
	l.fates[n].acted++
	way := [2]int{e.from, e.to}
	if e.to != at || n < l.last[way] || l.fates[n].acted > 1 {
		l.complain("errand %d to %d: acted on by %d, after %d, %d times", n, e.to, at, l.last[way], l.fates[n].acted)
	}
	l.last[way] = n
	l.mu.Unlock()
	time.AfterFunc(e.answerIn, func() { answer(body) })
}

// end notes how an errand ended.
func (l *ledger) end(n int, answer []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &l.fates[n]
	f.ended++
	f.err = err
	if err == nil && (f.acted != 1 || len(answer) != 2 || int(binary.BigEndian.Uint16(answer)) != n) {
		l.complain("errand %d: answer %x, acted on %d times", n, answer, f.acted)
	}
}

// run sends all errands through the weather, and returns what went wrong.
func (s storm) run(t *testing.T) error {
	n := newNetwork(s.seed)
	l := &ledger{storm: s, fates: make([]fate, len(s.errands)), last: make(map[[2]int]int)}
	actors := make([]*actor, stormActors)
	for i := range actors {
		actors[i] = newActor(t, n, protocol.Incarnation(fmt.Sprintf("n%d@1", i)), func(c *Config) {
			c.Handle = func(_ protocol.Incarnation, _ Kind, body []byte, answer func([]byte)) { l.act(i, body, answer) }
		}).run(t.Context())
	}
	living := actors
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, w := range s.weather {
			n.set(w.faults)
			time.Sleep(w.lasts)
			for _, i := range w.renews {
				n.renew(actors[i].cfg.Self)
			}
			if dying := living[len(living)-1]; w.dies && len(living) > 1 {
				living = living[:len(living)-1]
				dying.stop()
				for _, a := range living {
					a.Dead(dying.cfg.Self)
				}
			}
		}
		n.set(faults{})
	})
	began := time.Now()
	for i, e := range s.errands {
		time.Sleep(e.at - time.Since(began))
		from := actors[e.from]
		c, err := from.start(actors[e.to].cfg.Self, 1, binary.BigEndian.AppendUint16(nil, uint16(i)),
			func(answer []byte, err error) { l.end(i, answer, err) })
		if err != nil {
			l.end(i, nil, err)
		} else if e.giveUpIn > 0 {
			time.AfterFunc(e.giveUpIn, func() {
				if c.peer.withdraw(c) {
					l.end(i, nil, ErrWithdrawn)
				}
			})
		}
	}
	wg.Wait()
	time.Sleep(10 * time.Second)
	return l.judge(actors, len(living))
}

// judge looks at the end of a storm, of which the first actors are alive.
func (l *ledger) judge(actors []*actor, living int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.storm.errands {
		f := l.fates[i]
		expected := f.err == nil ||
			errors.Is(f.err, ErrWithdrawn) && e.giveUpIn > 0 ||
			errors.Is(f.err, ErrDead) && e.to >= living ||
			errors.Is(f.err, ErrClosed) && e.from >= living
		if f.ended != 1 || !expected {
			l.complain("errand %d, from %d to %d: ended %d times, with %v", i, e.from, e.to, f.ended, f.err)
		}
	}
	for _, a := range actors[:living] {
		for _, s := range a.Stats().Peers {
			if s != (PeerStats{Peer: s.Peer}) {
				l.complain("%s still holds %+v", a.cfg.Self, s)
			}
		}
	}
	if len(l.wrong) > 0 {
		return errors.New(strings.Join(l.wrong, "\n"))
	}
	return nil
}

// TestStorm draws a whole schedule of faults, deaths, calls, late answers and
// withdrawals, and runs it through whole inboxes in virtual time. Each call is
// acted on at most once and in order, ends exactly once, with its own answer
// unless its caller gave it up or one of the two died; and when the storm is
// over nobody holds anything.
func TestStorm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStorm(rt)
		var err error
		synctest.Test(t, func(t *testing.T) { err = s.run(t) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}
