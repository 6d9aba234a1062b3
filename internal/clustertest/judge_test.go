package clustertest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// judge ends all faults, lets the cluster settle, and compares what every
// client heard with what it was owed.
func (w *world) judge() {
	w.heal(true)
	for n := 1; n <= w.size; n++ {
		if w.nodes[n] == nil {
			w.Start(n)
		}
	}
	w.Settle()
	time.Sleep(75 * time.Second)
	w.Check()
	w.judgePlaces()
	w.judgeDepartures()
	w.judgeDebts()
	for _, p := range w.persons {
		w.judgeOrder(p)
	}
}

// judgePlaces holds records, rosters and sockets against each other.
func (w *world) judgePlaces() {
	in := map[int][]string{}
	for i := range chaosRooms {
		room := roomName(i)
		status, answer := w.Call(http.MethodGet, 1, "/v1/rooms/"+room, nil)
		if status == http.StatusNotFound {
			continue
		}
		if status != http.StatusOK {
			w.v.Fatalf("%s: %d %v", room, status, answer)
		}
		for _, o := range answer["occupants"].([]any) {
			user := int(o.(map[string]any)["user_id"].(float64))
			in[user] = append(in[user], room)
		}
	}
	for _, p := range w.persons {
		rooms := in[p.User]
		if len(rooms) > 1 {
			w.v.Errorf("%s is in %v", p, rooms)
		}
		if len(rooms) > 0 && !p.Connected() {
			w.v.Errorf("%s is a ghost in %v", p, rooms)
		}
		status, record := w.Call(http.MethodGet, 1, fmt.Sprintf("/v1/users/%d", p.User), nil)
		// Where a store lost its tail, nobody holds the record of a user who is
		// offline: it is settled when the user connects.
		if status == http.StatusOK && (p.Connected() || !w.lossy) {
			if room := fmt.Sprint(record["current_room_id"]); (len(rooms) == 1 && room != rooms[0]) || (len(rooms) == 0 && room != "") {
				w.v.Errorf("%s is in %v, the record says %q: %s", p, rooms, room, w.story(p, record))
			}
			if record["online"] != p.Connected() {
				w.v.Errorf("%s: record says online %v, connected is %t: %s", p, record["online"], p.Connected(), w.story(p, record))
			}
		}
		e := w.entered[p.User]
		if e.sure && e.room != "" && !w.lossy && p.steady(e.at.Add(-time.Second), time.Now(), 5*time.Second, w.bad) && !slices.Contains(rooms, e.room) {
			w.v.Errorf("%s was put into %s at %s, stayed connected, and is in %v", p, e.room, e.at.Sub(w.begun), rooms)
		}
	}
}

// story is what is known of how somebody got to where they are.
func (w *world) story(p *Person, record map[string]any) string {
	_, timeline := w.Call(http.MethodGet, 1, fmt.Sprintf("/v1/users/%d/timeline", p.User), nil)
	return fmt.Sprintf("%v; timeline %v; connections %v; put %+v", record, timeline, p.spans, w.entered[p.User])
}

// judgeDepartures looks for departures told of users who were there all the
// time.
func (w *world) judgeDepartures() {
	for _, p := range w.persons {
		for _, f := range p.Heard() {
			if f.Action != "exit_room" && f.Action != "hang_up" {
				continue
			}
			id, _ := f.Fields["user_id"].(float64)
			user := int(id)
			if user == p.User {
				w.v.Errorf("%s was told of its own departure", p)
			}
			if user < 1 || user > len(w.persons) {
				w.v.Errorf("%s was told of user %d, who does not exist", p, user)
				continue
			}
			gone := w.persons[user-1]
			if gone.steady(f.At.Add(-90*time.Second), f.At, 5*time.Second, w.bad) && f.At.Sub(w.begun) > 90*time.Second {
				w.v.Errorf("%s was told at %s that %s left, who was connected all the time", p, f.At.Sub(w.begun), gone)
			}
		}
	}
}

// judgeOrder fails where seq went back or repeated within an epoch.
func (w *world) judgeOrder(p *Person) {
	for _, phone := range p.past {
		last := map[string]float64{}
		for _, f := range phone.Heard("") {
			seq, ok := f.Fields["seq"].(float64)
			if !ok || f.Action == "entered" {
				continue
			}
			key := fmt.Sprint(f.Fields["room_id"], f.Fields["epoch"])
			if before, seen := last[key]; seen && seq <= before {
				w.v.Errorf("%s: %s %v after %v in %s", p, f.Action, seq, before, key)
			}
			last[key] = seq
		}
	}
}

// judgeDebts looks for departures that nobody heard of, though somebody was
// there all the time to hear them.
func (w *world) judgeDebts() {
	if w.lossy {
		return // what the store forgot together with its owner is forgotten
	}
	for _, p := range w.persons {
		left, ok := p.gone()
		e := w.entered[p.User]
		if !ok || !e.sure || e.room == "" || e.at.After(left.Add(-time.Second)) || !p.held(e.at, left) {
			continue
		}
		// It may be told before the app itself notices: its node was frozen.
		if relay := w.relay(p, e.room, left); relay != nil && !w.heardOf(p, e.at) {
			w.v.Errorf("%s left %s at %s and nobody heard of it; %s was there", p, e.room, left.Sub(w.begun), relay)
		}
	}
}

// relay returns somebody who was in a room, connected, from before another left
// until the end; nil if there was nobody.
func (w *world) relay(gone *Person, room string, left time.Time) *Person {
	for _, q := range w.persons {
		e := w.entered[q.User]
		if q != gone && e.sure && e.room == room && e.at.Before(left.Add(-time.Second)) && q.held(e.at, time.Now()) {
			return q
		}
	}
	return nil
}

// heardOf reports whether anybody heard an exit_room of a person since a time.
func (w *world) heardOf(gone *Person, since time.Time) bool {
	for _, p := range w.persons {
		for _, f := range p.Heard() {
			if id, _ := f.Fields["user_id"].(float64); f.Action == "exit_room" && int(id) == gone.User && !f.At.Before(since) {
				return true
			}
		}
	}
	return false
}
