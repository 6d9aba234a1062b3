package room

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// TestSplit sorts a partition's entries by room, and refuses what belongs to
// none.
func TestSplit(t *testing.T) {
	t.Parallel()
	rooms, err := Split(map[string][]byte{"a:m:": {1}, "a:o:1": {2}, "call/a:o:1": {3}})
	if err != nil || len(rooms) != 2 || len(rooms["a"]) != 2 || !bytes.Equal(rooms["call/a"]["call/a:o:1"], []byte{3}) {
		t.Errorf("split into %v (%v)", rooms, err)
	}
	for _, k := range []string{"", "a", ":o:1"} {
		if _, err := Split(map[string][]byte{k: nil}); err == nil {
			t.Errorf("entry %q belongs to a room", k)
		}
	}
}

// TestForeignEntries: what a later version has written stays as it is, through
// loading, changes, a restore and the end of all else in the room.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.journal["100:z:ban"] = []byte(`{"f":2}`)
	w.journal["100:y"] = []byte("\x00")
	w.crash()
	w.enter(1, 1, edgeA)
	w.apply(protocol.Command{Verb: protocol.VerbClose})
	if len(w.journal) != 2 || w.room.Disposable() {
		t.Errorf("journal\n%s disposable %t", dump(w.journal), w.room.Disposable())
	}
	w.refused(protocol.Command{Verb: protocol.VerbLook}, protocol.CodeRoomNotFound)
}

// TestLoadRefuses: entries that this version can't read or that contradict each
// other are an error, which quarantines the partition, and never half a room.
func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	occupant := `{"f":1,"n":1,"t":1,"p":{}}`
	for name, entries := range map[string]map[string]string{
		"another room's":    {"101:o:1": occupant},
		"not JSON":          {"100:o:1": `{"f":1,`},
		"later format":      {"100:o:1": `{"f":2,"n":1}`},
		"no format":         {"100:o:1": `{"n":1}`},
		"bad user":          {"100:o:0": occupant},
		"user twice":        {"100:o:01": occupant},
		"number twice":      {"100:o:1": occupant, "100:o:2": occupant},
		"seat twice":        {"100:o:1": `{"f":1,"n":1,"s":1}`, "100:o:2": `{"f":1,"n":2,"s":1}`},
		"seat out of reach": {"100:o:1": `{"f":1,"n":1,"s":-1}`},
		"huge number":       {"100:o:1": `{"f":1,"n":18446744073709551615}`},
		"bad time":          {"100:o:1": `{"f":1,"n":1,"t":-1}`},
		"named settings":    {"100:m:x": `{"f":1}`},
		"many seats":        {"100:m:": `{"f":1,"s":100000}`},
		"closed seat 0":     {"100:m:": `{"f":1,"x":[0]}`},
		"negative keep":     {"100:m:": `{"f":1,"k":-1}`},
		"debt of nobody":    {"100:d:a": `{"f":1,"n":1}`},
		"debt without id":   {"100:d:": `{"f":1,"n":1,"u":1}`},
		"debt to itself":    {"100:d:a": `{"f":1,"n":1,"u":1,"w":1}`},
		"asked twice":       {"100:d:a": `{"f":1,"n":1,"u":1,"a":[{"u":2},{"u":2}]}`},
		"present and owed":  {"100:o:1": occupant, "100:d:a": `{"f":1,"n":1,"u":1}`},
		"two debts of one":  {"100:d:a": `{"f":1,"n":1,"u":1}`, "100:d:b": `{"f":1,"n":2,"u":1}`},
		"key elsewhere":     {"100:k:1": `{"f":1,"n":2,"k":"x"}`},
		"empty key":         {"100:k:1": `{"f":1,"n":1}`},
	} {
		raw := make(map[string][]byte)
		for k, v := range entries {
			raw[k] = []byte(v)
		}
		if _, err := Load(testRoom, &Config{}, 1, nil, raw); err == nil {
			t.Errorf("%s: loaded", name)
		} else if !strings.Contains(err.Error(), "100") && !strings.Contains(err.Error(), "101") {
			t.Errorf("%s: %v does not say where", name, err)
		}
	}
	call := map[string][]byte{"call/c1:d:a": []byte(`{"f":1,"n":1,"u":1}`)}
	if _, err := Load(testCall, &Config{}, 1, nil, call); err == nil {
		t.Error("a call's debt to nobody is loaded")
	}
	call = make(map[string][]byte)
	for k, v := range map[string]string{"1": `{"f":1,"n":1}`, "2": `{"f":1,"n":2}`, "3": `{"f":1,"n":3}`} {
		call["call/c1:o:"+k] = []byte(v)
	}
	if _, err := Load(testCall, &Config{}, 1, nil, call); err == nil {
		t.Error("a call of three is loaded")
	}
}

// TestLeftoversEnd: entries of a room that is over, which no owner of this
// version leaves, are taken out at the first occasion.
func TestLeftoversEnd(t *testing.T) {
	t.Parallel()
	for name, entries := range map[string]map[string][]byte{
		"settings of nobody": {"100:m:": []byte(`{"f":1,"x":[1]}`)},
		"empty since never":  {"100:m:": []byte(`{"f":1,"c":true}`)},
		"keys of nobody":     {"100:k:1": []byte(`{"f":1,"n":1,"k":"x","e":1,"s":0}`)},
		"owed to nobody":     {"100:d:a": []byte(`{"f":1,"n":1,"u":1,"l":5}`)},
	} {
		w := newOwner(t, testRoom, Config{})
		r, err := Load(testRoom, w.cfg, w.epoch, w.mint, entries)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		w.room, w.journal = r, r.Entries()
		w.pass(time.Minute)
		if !w.room.Disposable() || len(w.journal) != 0 {
			t.Errorf("%s: left are\n%s", name, dump(w.journal))
		}
	}
}

// TestImportRefuses what can't be the state before these entries.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for _, export := range []string{
		``, `{}`, `{"f":2,"epoch":1}`, `{"f":1,"epoch":7}`, `{"f":1,"epoch":9}`,
		`{"f":1,"epoch":1,"seq":1,"history":["e30=","e30="]}`,
		`{"f":1,"epoch":1,"published":[{"n":0,"k":"x"}]}`,
		`{"f":1,"epoch":1,"dead":{"5":1}}`,
		`{"f":1,"epoch":1,"seq":18446744073709551615}`,
	} {
		if _, err := Import(testRoom, &Config{}, 7, nil, nil, []byte(export)); err == nil {
			t.Errorf("%s is imported", export)
		}
	}
}

// TestLineageIsBounded: positions of the last few epochs are understood.
func TestLineageIsBounded(t *testing.T) {
	t.Parallel()
	w := newOwner(t, testRoom, Config{})
	w.enter(1, 1, edgeA)
	for range lineageKept + 1 {
		w.handOver()
	}
	if n := len(w.room.lineage); n != lineageKept {
		t.Errorf("%d former epochs are kept", n)
	}
	if w.synced(7, 1).Resync == nil {
		t.Error("the oldest epoch is still known")
	}
	if w.synced(8, 1).Resync != nil {
		t.Error("an epoch in reach is not known")
	}
}

// FuzzLoad: nothing that can be stored makes a room panic, now or in what
// follows; and what it holds is what it says it holds.
func FuzzLoad(f *testing.F) {
	for _, id := range []protocol.RoomID{testRoom, testCall} {
		w := newOwner(f, id, Config{})
		w.enter(1, 1, edgeA)
		w.enter(2, 1, "")
		if id == testRoom {
			w.enter(3, 1, edgeB)
			w.up(1, 2)
			seats := 9
			w.apply(protocol.Command{Verb: protocol.VerbConfigure, Settings: &protocol.Settings{Seats: &seats}, Key: "k"})
		}
		w.lose(2, 2)
		export, err := w.room.Export()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(id), dump(w.journal), export)
	}
	f.Add("100", `100:o:1 = {"f":1}`, []byte(`{"f":1}`))
	f.Fuzz(func(t *testing.T, id, journal string, export []byte) {
		entries := make(map[string][]byte)
		for line := range strings.Lines(journal) {
			k, v, _ := strings.Cut(strings.TrimSpace(line), " = ")
			entries[k] = []byte(v)
		}
		rooms, err := Split(entries)
		if err != nil {
			return
		}
		for id, entries := range rooms {
			exercise(t, id, entries, export)
		}
		exercise(t, protocol.RoomID(id), nil, export)
	})
}

// exercise loads a room from anything and makes it work.
func exercise(t *testing.T, id protocol.RoomID, entries map[string][]byte, export []byte) {
	w := newOwner(t, id, Config{})
	r, err := Import(id, w.cfg, w.epoch, w.mint, maps.Clone(entries), export)
	if err != nil {
		if r, err = Load(id, w.cfg, w.epoch, w.mint, maps.Clone(entries)); err != nil {
			return
		}
	}
	w.room, w.journal = r, r.Entries()
	again, err := Load(id, w.cfg, w.epoch, w.mint, maps.Clone(w.journal))
	if err != nil || !equalEntries(again.Entries(), w.journal) {
		t.Fatalf("own entries are not loaded (%v):\n%s", err, dump(w.journal))
	}
	for range 4 {
		w.take(w.room.Tick(w.now))
		w.now = w.now.Add(6 * time.Second)
	}
	w.take(w.room.EdgeDied(edgeA, w.now))
	for _, verb := range []protocol.Verb{protocol.VerbLook, protocol.VerbPresent, protocol.VerbEnter, protocol.VerbReport, protocol.VerbLoss, protocol.VerbSync, protocol.VerbExit, protocol.VerbClose} {
		_ = w.try(protocol.Command{Verb: verb, User: 1, Subject: 2, Version: 1 << 62, Conn: 1 << 62, Edge: edgeB})
	}
	for range 4 {
		w.now = w.now.Add(30 * time.Second)
		w.take(w.room.Tick(w.now))
	}
}
