package gossip

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

func TestFormerMembersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		r.set("self", "a:1", Meta{Boot: "b"})
		for i := range maxFormer + 10 {
			node := protocol.NodeID(fmt.Sprintf("n%03d", i))
			r.set(node, "a:1", Meta{Boot: "b"})
			r.gone(node)
			time.Sleep(time.Second)
		}
		view := r.view.Load()
		if len(view.Members) != maxFormer+1 {
			t.Errorf("%d members are listed", len(view.Members))
		}
		if _, ok := view.Member("n009"); ok {
			t.Error("one that went early is listed")
		}
		if m, ok := view.Member("n010"); !ok || m.State != Failed {
			t.Error("one that went later is not")
		}
	})
}

func TestFarewellTellsLeftFromFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events func(*roster)
		want   MemberState
	}{
		"gone without a word":  {func(r *roster) { r.gone("n1") }, Failed},
		"the word first":       {func(r *roster) { r.farewell("n1@b1"); r.gone("n1") }, Left},
		"the word after":       {func(r *roster) { r.gone("n1"); r.farewell("n1@b1") }, Left},
		"by the meta":          {func(r *roster) { r.set("n1", "a:1", Meta{Boot: "b1", State: Leaving}); r.gone("n1") }, Left},
		"another life's word":  {func(r *roster) { r.farewell("n1@b0"); r.gone("n1") }, Failed},
		"the word alone":       {func(r *roster) { r.farewell("n1@b1") }, Alive},
		"back after it":        {func(r *roster) { r.farewell("n1@b1"); r.gone("n1"); r.set("n1", "a:1", Meta{Boot: "b2"}) }, Alive},
		"nonsense":             {func(r *roster) { r.farewell(""); r.farewell("@"); r.farewell("n2@b1"); r.gone("n3") }, Alive},
		"twice":                {func(r *roster) { r.farewell("n1@b1"); r.gone("n1"); r.gone("n1"); r.farewell("n1@b1") }, Left},
		"after the roster end": {func(r *roster) { r.close(); r.farewell("n1@b1"); r.gone("n1") }, Alive},
	} {
		r := newRoster()
		r.set("n1", "a:1", Meta{Boot: "b1"})
		c.events(r)
		if m, _ := r.view.Load().Member("n1"); m.State != c.want {
			t.Errorf("%s: %v", name, m.State)
		}
	}
}

func TestAnswersOfAnotherLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		r.set("n1", "a:1", Meta{Boot: "b1"})
		expect := func(boot, addr string, state MemberState) {
			t.Helper()
			got, differs := r.answered("n1", boot)
			m, _ := r.view.Load().Member("n1")
			if got != addr || differs != (addr != "") || m.State != state {
				t.Errorf("answer %q: contact %q, state %v", boot, got, m.State)
			}
		}
		expect("b1", "", Alive)
		expect("", "", Alive) // a build that says nothing
		expect("b2", "a:1", Alive)
		time.Sleep(impostorAfter / 2)
		expect("b1", "", Alive) // a late packet of the listed life
		expect("b2", "a:1", Alive)
		time.Sleep(impostorAfter / 2)
		expect("b2", "a:1", Alive) // the clock has begun anew
		time.Sleep(impostorAfter / 2)
		expect("b2", "a:1", Failed)
		expect("b2", "", Failed)
		r.set("n1", "a:1", Meta{Boot: "b2"})
		expect("b2", "", Alive)
		if len(r.impostors) != 0 {
			t.Errorf("%v is kept", r.impostors)
		}
	})
}

func TestSinceIsOfTheStateAndTheLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoster()
		start := time.Now()
		since := func() time.Duration {
			m, _ := r.view.Load().Member("n1")
			return m.Since.Sub(start)
		}
		r.set("n1", "a:1", Meta{Boot: "b1"})
		time.Sleep(time.Second)
		r.set("n1", "a:1", Meta{Boot: "b1", Connections: 7})
		if since() != 0 {
			t.Errorf("a change of meta sets since to %v", since())
		}
		r.set("n1", "a:1", Meta{Boot: "b2"})
		if since() != time.Second {
			t.Errorf("a new life leaves since at %v", since())
		}
		time.Sleep(time.Second)
		r.gone("n1")
		if since() != 2*time.Second {
			t.Errorf("a failure leaves since at %v", since())
		}
	})
}

func TestFarewellMessage(t *testing.T) {
	t.Parallel()
	r := newRoster()
	r.set("n1", "a:1", Meta{Boot: "b1"})
	d := delegate{&Gossip{roster: r}}
	for _, msg := range []string{"", "\x00n1@b1", "\x02n1@b1", "n1@b1", "\x01", "\x01n1@b"} {
		d.NotifyMsg([]byte(msg))
	}
	if m, _ := r.view.Load().Member("n1"); m.Meta.State == Leaving {
		t.Error("nonsense is taken for a farewell")
	}
	d.NotifyMsg([]byte("\x01n1@b1"))
	if m, _ := r.view.Load().Member("n1"); m.Meta.State != Leaving {
		t.Error("a farewell is not taken")
	}
}
