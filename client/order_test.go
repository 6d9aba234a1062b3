package client

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

func TestFramesComeInOrderAndOnce(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		for _, seq := range []int{5, 6, 6, 5, 7} {
			p.sendRoom(1, seq)
		}
		r.told(lines(1, 5, 6, 7)...)
		if s := r.client.Stats(); s.Repeated != 2 || s.Frames != 3 || s.Gaps != 0 {
			t.Errorf("stats %+v", s)
		}
		p.quiet(time.Second)
	})
}

func TestGapIsAskedForAndFilled(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		for _, seq := range []int{5, 8, 10, 9} {
			p.sendRoom(1, seq)
		}
		r.told(lines(1, 5)...)
		sync := p.expect(protocol.ActionSync, time.Second)
		if string(sync.Room) != "r1" || sync.Epoch != 1 || sync.Seq != 5 {
			t.Errorf("asked %s", sync.Raw())
		}
		for _, seq := range []int{6, 7, 8, 9} {
			p.sendRoom(1, seq)
		}
		p.send(`{"action":"synced","room_id":"r1","epoch":1,"seq":9}`)
		r.told(lines(1, 6, 7, 8, 9, 10)...)
		p.quiet(time.Minute)
		if s := r.client.Stats(); s.Gaps != 1 || s.Syncs != 1 || s.Lost != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestGapBehindAGap(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 1)
		p.sendRoom(1, 3)
		p.sendRoom(1, 6)
		p.expect(protocol.ActionSync, time.Second)
		p.sendRoom(1, 2)
		p.send(`{"action":"synced","room_id":"r1","epoch":1,"seq":3}`)
		if f := p.expect(protocol.ActionSync, time.Second); f.Seq != 3 {
			t.Errorf("asked %s", f.Raw())
		}
		r.told(lines(1, 1, 2, 3)...)
	})
}

func TestStateInPlaceOfHistory(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 5)
		p.sendRoom(1, 9)
		p.sendRoom(1, 12)
		p.expect(protocol.ActionSync, time.Second)
		p.send(`{"action":"resync","room_id":"r1","epoch":1,"seq":11,"rev":1,"count":0,"channel_name":"","occupants":[],"seats":[],"next":""}`)
		r.told(append(append(lines(1, 5), "resync r1 1/11 "), lines(1, 12)...)...)
		if s := r.client.Stats(); s.Resyncs != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestNobodyAnswersASync(t *testing.T) {
	inBubble(t, func(c *Config) { c.ProbeInterval = -1 }, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 1)
		p.sendRoom(1, 4)
		p.sendRoom(1, 5)
		began := time.Now()
		for range maxTries {
			p.expect(protocol.ActionSync, time.Minute)
		}
		time.Sleep(time.Minute)
		r.told(lines(1, 1, 4, 5)...)
		if s := r.client.Stats(); s.Lost != 2 || s.Syncs != maxTries {
			t.Errorf("stats %+v", s)
		}
		if asked := time.Since(began); asked > 2*time.Minute {
			t.Errorf("gave up after %v", asked)
		}
		p.sendRoom(1, 6)
		r.told(lines(1, 6)...)
		p.quiet(time.Minute)
	})
}

func TestHeldFramesGoOutWithTheNextOne(t *testing.T) {
	inBubble(t, func(c *Config) { c.ProbeInterval = -1 }, func(r *rig) {
		p := r.connected()
		p.deaf = true
		p.sendRoom(1, 1)
		p.sendRoom(1, 4)
		time.Sleep(2 * time.Minute)
		r.told(lines(1, 1)...)
		p.sendRoom(1, 5)
		r.told(lines(1, 4, 5)...)
	})
}

func TestTooMuchIsHeld(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 1)
		for seq := 3; seq < 3+maxHeldFrames; seq++ {
			p.sendRoom(1, seq)
		}
		r.told(lines(1, 1)...)
		p.sendRoom(1, 3+maxHeldFrames+1)
		got := r.heard.take()
		if len(got) != maxHeldFrames+1 || got[0] != lines(1, 3)[0] || got[maxHeldFrames] != lines(1, 4+maxHeldFrames)[0] {
			t.Errorf("told %d frames, %q to %q", len(got), got[0], got[len(got)-1])
		}
		if s := r.client.Stats(); s.Lost != 2 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestHandoverGoesOnCounting(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 57)
		p.sendRoom(2, 58)
		p.sendRoom(1, 58) // of the owner before
		p.sendRoom(2, 59)
		r.told(append(lines(1, 57), lines(2, 58, 59)...)...)
		p.quiet(10 * time.Second)
	})
}

func TestCrashIsAskedAboutOnce(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 57)
		p.sendRoom(2, 1)
		p.sendRoom(2, 2)
		r.told(append(lines(1, 57), lines(2, 1, 2)...)...)
		sync := p.expect(protocol.ActionSync, restartSpread)
		if sync.Epoch != 1 || sync.Seq != 57 {
			t.Errorf("asked %s", sync.Raw())
		}
		p.sendRoom(2, 3) // its effect may be in the state already
		p.sendRoom(2, 4)
		r.told()
		p.send(`{"action":"resync","room_id":"r1","epoch":2,"seq":3}`)
		r.told(append([]string{"resync r1 2/3 "}, lines(2, 4)...)...)
		p.quiet(time.Minute)
	})
}

func TestCrashIsSpreadOverTime(t *testing.T) {
	t.Parallel()
	var waits []time.Duration
	for range 8 {
		synctest.Test(t, func(t *testing.T) {
			r := &rig{t: t, heard: &heard{}}
			n, l := newNet(t)
			defer n.Close()
			r.net, r.server = n, newFake(t, l)
			defer r.server.stop()
			var err error
			if r.client, err = New(r.config()); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() { defer close(done); _ = r.client.Run(t.Context()) }()
			p := r.connected()
			p.sendRoom(1, 57)
			p.sendRoom(2, 1)
			began := time.Now()
			p.expect(protocol.ActionSync, restartSpread)
			waits = append(waits, time.Since(began))
		})
	}
	if slices.Max(waits)-slices.Min(waits) < 100*time.Millisecond {
		t.Errorf("all ask at once: %v", waits)
	}
}

func TestUnansweredStateHoldsFramesForSeconds(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(1, 57)
		p.sendRoom(2, 1)
		p.expect(protocol.ActionSync, restartSpread)
		p.sendRoom(2, 2)
		r.heard.take()
		time.Sleep(7 * time.Second)
		r.told(lines(2, 2)...)
	})
}

// What waits for the state of a room is not heard once the user is elsewhere.
func TestHeldFramesOfAFormerRoomAreDropped(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		const gone = `{"action":"error","request":"sync","room_id":"r1","code":"not_in_room","message":"sync: you are not in this room"}`
		p := r.connected()
		p.sendRoom(1, 57)
		p.sendRoom(2, 1)
		p.expect(protocol.ActionSync, restartSpread)
		p.sendRoom(2, 2)
		p.send(gone)
		p.expect(protocol.ActionSync, askAgain+time.Second)
		p.send(gone)
		synctest.Wait()
		r.heard.take()
		p.quiet(time.Minute)
		r.told()
	})
}

func TestReconnectAsksForWhatWasMissed(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(3, 41)
		p.sendRoom(3, 43) // is with the server still
		synctest.Wait()
		r.server.set(func() {
			r.server.token = `{"action":"create_token","online_token":"2","current_room_id":"r1","call_no":""}`
		})
		p.drop()
		p = r.accept(time.Minute)
		if p.query.Get("room_id") != "r1" {
			t.Errorf("back with %v", p.query)
		}
		synctest.Wait()
		r.heard.take()
		sync := p.expect(protocol.ActionSync, time.Second)
		if sync.Epoch != 3 || sync.Seq != 41 || string(sync.Token) != "2" {
			t.Errorf("asked %s", sync.Raw())
		}
		p.send(`{"action":"error","request":"sync","room_id":"r1","code":"not_in_room","message":"sync: you are not in this room"}`)
		p.expect(protocol.ActionSync, 3*time.Second) // the node was not ready yet
		p.sendRoom(3, 42)
		p.sendRoom(3, 43)
		p.send(`{"action":"synced","room_id":"r1","epoch":3,"seq":43}`)
		r.told(append([]string{"error user=0 "}, lines(3, 42, 43)...)...)
		p.quiet(time.Minute)
	})
}

func TestReconnectElsewhereAsksForNothing(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		p.sendRoom(3, 41)
		synctest.Wait()
		r.server.set(func() { r.server.token = `{"action":"create_token","current_room_id":"r2","call_no":""}` })
		p.drop()
		p = r.accept(time.Minute)
		p.quiet(time.Minute)
	})
}

func TestRoomThatIsGone(t *testing.T) {
	for name, test := range map[string]struct {
		token string
		want  []string
	}{
		"both":    {`"current_room_id":0,"call_no":""`, []string{"gone 12", "gone call/c1"}},
		"room":    {`"current_room_id":0,"call_no":"c1"`, []string{"gone 12"}},
		"other":   {`"current_room_id":13,"call_no":"c1"`, []string{"gone 12"}},
		"neither": {`"current_room_id":12,"call_no":"c1"`, nil},
		"unknown": {`"ping_interval":15`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *Config) { c.Dial = late(c.Dial) }, func(r *rig) {
				r.server.set(func() { r.server.token = `{"action":"create_token","current_room_id":12,"call_no":"c1"}` })
				p := r.connected()
				r.server.set(func() { r.server.token = `{"action":"create_token",` + test.token + `}` })
				p.drop()
				r.accept(time.Minute)
				if got := r.heard.take()[2:]; !slices.Equal(got, test.want) {
					t.Errorf("told %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestEnteredSetsThePlace(t *testing.T) {
	inBubble(t, func(c *Config) { c.V2 = true }, func(r *rig) {
		p := r.connected()
		p.send(`{"action":"entered","room_id":"r1","epoch":4,"seq":20,"rev":3,"count":2,"seats":[]}`)
		r.told("entered r1 4/20 ")
		if room, _ := r.client.Place(); room != "r1" {
			t.Errorf("in %q", room)
		}
		p.sendRoom(4, 22)
		if f := p.expect(protocol.ActionSync, time.Second); f.Seq != 20 {
			t.Errorf("asked %s", f.Raw())
		}
	})
}

func TestResyncOnRequest(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		if err := r.client.Resync(r.t.Context(), "r1"); err != nil {
			t.Fatal(err)
		}
		if f := p.expect(protocol.ActionSync, time.Second); string(f.Room) != "r1" || f.Epoch != 0 || f.Seq != 0 {
			t.Errorf("asked %s", f.Raw())
		}
		p.send(`{"action":"resync","room_id":"r1","epoch":4,"seq":20}`)
		p.sendRoom(4, 21)
		r.told(append([]string{"resync r1 4/20 "}, lines(4, 21)...)...)
	})
}

func TestManyRoomsAreFollowedFew(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		for _, room := range []string{"1", "2", `"a"`, `"b"`, `"c"`, "1"} {
			p.send(`{"action":"pk","room_id":` + room + `,"epoch":1,"seq":9}`)
		}
		r.told("pk 1 1/9 ", "pk 2 1/9 ", "pk a 1/9 ", "pk b 1/9 ", "pk c 1/9 ", "pk 1 1/9 ")
		if n := len(r.client.tracks); n != maxTracks {
			t.Errorf("%d tracks", n)
		}
	})
}

func TestDepartures(t *testing.T) {
	inBubble(t, nil, func(r *rig) {
		p := r.connected()
		exit := `{"action":"exit_room","user_id":7,"channel_name":"ch","room_seat":{"id":3,"status":1,"microphone":true},"departure_id":"1-2-3"}`
		p.send(exit)
		report := p.expect(protocol.ActionExitRoomReport, time.Second)
		if report.User != 7 || string(report.Departure) != "1-2-3" {
			t.Errorf("reported %s", report.Raw())
		}
		p.send(exit) // the report was lost
		p.expect(protocol.ActionExitRoomReport, time.Second)
		r.told("exit_room user=7 ")

		p.send(`{"action":"hang_up","user_id":8,"receiver_id":42,"channel_name":"c1","departure_id":"1-2-4"}`)
		report = p.expect(protocol.ActionHangUpReport, time.Second)
		if report.User != 8 || string(report.Departure) != "1-2-4" {
			t.Errorf("reported %s", report.Raw())
		}
		p.send(`{"action":"exit_room","user_id":9,"channel_name":"ch","room_seat":null}`) // of an old server
		if report = p.expect(protocol.ActionExitRoomReport, time.Second); report.User != 9 || report.Departure != nil {
			t.Errorf("reported %s", report.Raw())
		}
		if n := r.client.Stats().Departures; n != 3 {
			t.Errorf("%d departures", n)
		}
		for i := range 2 * maxTold {
			p.send(fmt.Sprintf(`{"action":"exit_room","user_id":9,"departure_id":"2-%d"}`, i))
			p.expect(protocol.ActionExitRoomReport, time.Second)
		}
		synctest.Wait()
		if len(r.client.told) != maxTold {
			t.Errorf("%d departures are remembered", len(r.client.told))
		}
	})
}

func TestDepartureIsReportedWhenTheAppSaysSo(t *testing.T) {
	var got []Departure
	inBubble(t, func(c *Config) {
		c.OnDeparture = func(d Departure) bool { got = append(got, d); return false }
	}, func(r *rig) {
		p := r.connected()
		exit := `{"action":"exit_room","user_id":7,"channel_name":"ch","room_seat":{"id":3,"status":0,"microphone":true},"departure_id":"1-2-3"}`
		p.send(exit, exit)
		p.quiet(time.Second)
		synctest.Wait()
		if len(got) != 1 || got[0].User != 7 || got[0].ChannelName != "ch" || *got[0].Seat != (protocol.SeatView{ID: 3, Microphone: true}) {
			t.Fatalf("told %+v", got)
		}
		if err := r.client.Report(r.t.Context(), got[0]); err != nil {
			t.Fatal(err)
		}
		p.expect(protocol.ActionExitRoomReport, time.Second)
		p.send(exit)
		p.expect(protocol.ActionExitRoomReport, time.Second)
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("told %d times", len(got))
		}
	})
}
