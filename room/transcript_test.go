package room

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata; read the difference before you believe it")

// TestTranscripts replays testdata/*.txt. A block is a line with a command,
// then what it led to, then an empty line. Lines with # in front are for the
// reader. Commands:
//
//	room ID | call NO                    start over with this one
//	enter|exit|loss|present|report USER  [v=] [conn=] [edge=] [role=] [why=] [of=] [departure=] [key=] [quiet]
//	seat N up=USER|down|status=0|microphone=false
//	configure [seats=] [name=] [keep=]
//	close · publish FRAME [to=USER] · look [user=] · sync EPOCH SEQ
//	pass DURATION · edge-died EDGE · gone USER CONN · elsewhere USER CONN
//	flush · crash · handover · journal
func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			switch {
			case *update:
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			case got != string(want):
				t.Errorf("%s differs; run with -update and read what changed:\n%s", file, firstDifference(string(want), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], append(g, "nothing")[min(i, len(g))])
		}
	}
	return "more lines than wanted: " + g[len(w)]
}

func replay(t *testing.T, script string) string {
	var out bytes.Buffer
	w := newOwner(t, testRoom, Config{})
	for _, block := range strings.Split(strings.TrimSpace(script), "\n\n") {
		for line := range strings.SplitSeq(block, "\n") {
			if strings.HasPrefix(line, "#") {
				fmt.Fprintln(&out, line)
				continue
			}
			fmt.Fprintln(&out, line)
			w = play(w, &out, line)
			break
		}
		fmt.Fprintln(&out)
	}
	return out.String()
}

// play performs one command of a transcript.
func play(w *owner, out *bytes.Buffer, line string) *owner {
	verb, rest, _ := strings.Cut(line, " ")
	args := strings.Fields(rest)
	arg := func(i int) string { return append(args, "", "")[i] }
	show := func(res Result) { w.show(out, res) }
	switch verb {
	case "room":
		return newOwner(w.tb, protocol.RoomID(arg(0)), Config{})
	case "call":
		return newOwner(w.tb, protocol.CallRoom(arg(0)), Config{})
	case "pass":
		d, err := time.ParseDuration(arg(0))
		if err != nil {
			w.tb.Fatalf("%s: %v", line, err)
		}
		w.passShowing(out, d)
	case "edge-died":
		show(w.take(w.room.EdgeDied(protocol.Incarnation(arg(0)), w.now)))
	case "gone":
		show(w.take(w.room.Noticed(w.departureOf(arg(0)), protocol.UserID(num(arg(0))), protocol.ConnNumber(num(arg(1))), protocol.NoticeGone, w.now)))
	case "elsewhere":
		show(w.take(w.room.Noticed(w.departureOf(arg(0)), protocol.UserID(num(arg(0))), protocol.ConnNumber(num(arg(1))), protocol.NoticeElsewhere, w.now)))
	case "flush":
		if frame, ok := w.room.FlushPresence(); ok {
			fmt.Fprintf(out, "  presence %s\n", frame)
		}
	case "crash":
		w.crash()
	case "handover":
		w.handOver()
	case "journal":
		out.WriteString(dump(w.journal))
	default:
		cmd := parseCommand(verb, rest, args)
		if err := w.try(cmd); err != nil {
			fmt.Fprintf(out, "  refused %v\n", err)
			return w
		}
		show(w.last)
	}
	return w
}

// departureOf returns the departure that a user has the turn of.
func (w *owner) departureOf(user string) protocol.DepartureID {
	for _, d := range w.room.owed.all() {
		if d.turn == protocol.UserID(num(user)) {
			return d.id
		}
	}
	return ""
}

func (w *owner) passShowing(out *bytes.Buffer, d time.Duration) {
	until := w.now.Add(d)
	for next := w.room.Next(); !next.IsZero() && !next.After(until); next = w.room.Next() {
		w.now = next
		fmt.Fprintf(out, "  at %v\n", next.Sub(w.start))
		w.show(out, w.take(w.room.Tick(next)))
	}
	w.now = until
}

func num(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func parseCommand(verb, rest string, args []string) protocol.Command {
	cmd := protocol.Command{Verb: protocol.Verb(verb)}
	switch cmd.Verb {
	case protocol.VerbEnter, protocol.VerbExit, protocol.VerbLoss, protocol.VerbPresent, protocol.VerbReport:
		cmd.User = protocol.UserID(num(args[0]))
		if cmd.Verb == protocol.VerbEnter {
			cmd.Profile = profileOf(cmd.User)
		}
	case protocol.VerbSeat:
		cmd.Seat, cmd.SeatChange = int(num(args[0])), &protocol.SeatChange{}
	case protocol.VerbConfigure:
		cmd.Settings = &protocol.Settings{}
	case protocol.VerbPublish:
		frame, tail, _ := strings.Cut(rest, "}")
		cmd.Frame, args = json.RawMessage(frame+"}"), strings.Fields(tail)
	case protocol.VerbSync:
		cmd.Epoch, cmd.Seq = protocol.Epoch(num(args[0])), protocol.Seq(num(args[1]))
	}
	for _, a := range args {
		if name, value, ok := strings.Cut(a, "="); ok || name == "quiet" || name == "down" {
			parseArg(&cmd, name, value)
		}
	}
	return cmd
}

func parseArg(cmd *protocol.Command, name, value string) {
	switch name {
	case "v":
		cmd.Version = protocol.Version(num(value))
	case "conn":
		cmd.Conn = protocol.ConnNumber(num(value))
	case "edge":
		cmd.Edge = protocol.Incarnation(value)
	case "role":
		cmd.Profile.Role = value
	case "why":
		cmd.Reason = value
	case "of", "to":
		cmd.Subject = protocol.UserID(num(value))
	case "user":
		cmd.User = protocol.UserID(num(value))
	case "departure":
		cmd.Departure = protocol.DepartureID(value)
	case "key":
		cmd.Key = value
	case "quiet":
		cmd.Quiet = true
	case "up":
		cmd.SeatChange.Up = protocol.UserID(num(value))
	case "down":
		cmd.SeatChange.Down = true
	case "status":
		status := int(num(value))
		cmd.SeatChange.Status = &status
	case "microphone":
		on := value == "true"
		cmd.SeatChange.Microphone = &on
	case "seats":
		seats := int(num(value))
		cmd.Settings.Seats = &seats
	case "name":
		cmd.Settings.ChannelName = &value
	case "keep":
		keep, err := time.ParseDuration(value)
		if err != nil {
			panic(err)
		}
		cmd.Settings.KeepEmpty = &keep
	}
}

// show writes what a result says, one line each.
func (w *owner) show(out *bytes.Buffer, res Result) {
	if res.Reply.Epoch != 0 {
		fmt.Fprintf(out, "  reply epoch=%d seq=%d delivered=%d %s\n", res.Reply.Epoch, res.Reply.Seq, res.Reply.Delivered, res.Reply.Body)
	}
	for _, c := range res.Changes {
		if c.Value == nil {
			fmt.Fprintf(out, "  erase %s\n", c.Key)
		} else {
			fmt.Fprintf(out, "  store %s %s\n", c.Key, c.Value)
		}
	}
	for _, s := range res.Subscriptions {
		what := "subscribe"
		if s.Off {
			what = "unsubscribe"
		}
		fmt.Fprintf(out, "  %s %d conn=%d v=%d at %s seq=%d %s\n", what, s.User, s.Conn, s.Version, s.Edge, s.Seq, s.Entered)
	}
	for _, p := range res.Publications {
		fmt.Fprintf(out, "  publish except=%d only=%d %s\n", p.Except, p.Only, p.Frame)
	}
	for _, n := range res.Notices {
		fmt.Fprintf(out, "  notice %d conn=%d at %s %s\n", n.User, n.Conn, n.Edge, n.Frame)
	}
	for _, e := range res.Evicted {
		fmt.Fprintf(out, "  evict %d v=%d %s\n", e.User, e.Version, e.Reason)
	}
	for _, e := range res.Events {
		fmt.Fprintf(out, "  event %s user=%d room=%s call=%s seat=%d %s %s\n", e.Event, e.UserID, e.RoomID, e.CallNo, e.Seat, e.Reason, e.DepartureID)
	}
}

func sortedKeys(m map[string][]byte) []string { return slices.Sorted(maps.Keys(m)) }
