package gossip

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func plainLogger(w *strings.Builder, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestLinesBecomeRecords(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	l := newLineLogger(plainLogger(&out, slog.LevelDebug))
	std := l.std()
	std.Print("[DEBUG] memberlist: Stream connection from=10.0.0.1:1")
	std.Print("[INFO] memberlist: Marking n1 as failed")
	std.Print("[WARN] memberlist: Refuting")
	std.Print("[ERR] memberlist: Failed to send")
	std.Print("Err: Could not set the deadline")
	std.Print("[ unfinished")
	l.mute()
	std.Print("[ERR] memberlist: too late")
	want := `level=DEBUG msg="memberlist says" text="Stream connection from=10.0.0.1:1"
level=DEBUG msg="memberlist says" text="Marking n1 as failed"
level=WARN msg="memberlist says" text=Refuting
level=WARN msg="memberlist says" text="Failed to send"
level=WARN msg="memberlist says" text="Err: Could not set the deadline"
level=WARN msg="memberlist says" text="[ unfinished"
`
	if out.String() != want {
		t.Errorf("logged\n%s", out.String())
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		std := newLineLogger(plainLogger(&out, slog.LevelInfo)).std()
		for i := range 100 {
			std.Printf("[ERR] memberlist: no route %d", i)
			std.Print("[DEBUG] memberlist: chatter")
		}
		if n := strings.Count(out.String(), "\n"); n != maxComplaints {
			t.Errorf("%d lines in one second", n)
		}
		time.Sleep(time.Second)
		std.Print("[ERR] memberlist: again")
		if !strings.HasSuffix(out.String(), "text=again suppressed=90\n") {
			t.Errorf("the next second begins with %q", out.String()[len(out.String())-80:])
		}
	})
}

func TestHeraldTellsWhatChanged(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	g := &Gossip{config: Config{Node: "self", Logger: plainLogger(&out, slog.LevelInfo)}}
	r := newRoster()
	told := r.view.Load()
	for _, event := range []func(){
		func() { r.set("self", "a:0", Meta{Boot: "b"}) },
		func() { r.set("n1", "a:1", Meta{Boot: "b1", State: Serving}) },
		func() { r.set("n1", "a:1", Meta{Boot: "b1", State: Draining}) },
		func() { r.gone("n1") },
		func() { r.set("n1", "a:1", Meta{Boot: "b2"}) },
		func() { r.set("n1", "a:2", Meta{Boot: "b3"}) },
		func() { r.farewell("n1@b3"); r.gone("n1") },
	} {
		event()
		g.tell(told, r.view.Load())
		told = r.view.Load()
	}
	want := `level=INFO msg="member joined" member=n1@b1 addr=a:1 state=serving
level=INFO msg="member failed" member=n1@b1 addr=a:1 state=draining
level=INFO msg="member joined" member=n1@b2 addr=a:1 state=starting former=n1@b1
level=INFO msg="member restarted" member=n1@b3 addr=a:2 state=starting former=n1@b2
level=INFO msg="member left" member=n1@b3 addr=a:2 state=leaving
`
	if out.String() != want {
		t.Errorf("logged\n%s", out.String())
	}
}
