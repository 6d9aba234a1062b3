package room

import (
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// large returns a room of n occupants at four edges.
func large(b *testing.B, n int) *owner {
	b.Helper()
	cfg := Config{}.WithDefaults()
	w := newOwner(b, testRoom, cfg)
	w.cfg = &cfg
	w.room = New(testRoom, w.cfg, w.epoch, w.mint)
	edges := []protocol.Incarnation{"n1@a", "n2@a", "n3@a", "n4@a"}
	for i := range n {
		_, err := w.room.Apply(protocol.Command{
			Verb: protocol.VerbEnter, User: protocol.UserID(i + 1), Version: 1, Conn: 1,
			Edge: edges[i%4], Profile: profileOf(7),
		}, w.now)
		if err != nil {
			b.Fatal(err)
		}
	}
	return w
}

func BenchmarkPublish(b *testing.B) {
	w := large(b, 5000)
	frame := []byte(`{"action":"send_topic_msg","user_id":1233,"nickname":"小明","sex":1,"avatar_url":"http://img/1.png","content":"大家好","channel_name":"c"}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if _, err := w.room.Apply(protocol.Command{Verb: protocol.VerbPublish, Frame: frame}, w.now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnterLoss is one coming and going in a large room, with its report.
func BenchmarkEnterLoss(b *testing.B) {
	for name, n := range map[string]int{"50": 50, "5000": 5000, "100000": 99_000} {
		b.Run(name, func(b *testing.B) {
			w := large(b, n)
			enter := protocol.Command{Verb: protocol.VerbEnter, User: 1 << 20, Conn: 1, Edge: "n1@a", Profile: profileOf(7)}
			loss := protocol.Command{Verb: protocol.VerbLoss, User: 1 << 20, Conn: 1, Reason: "closed"}
			version := protocol.Version(0)
			b.ReportAllocs()
			for b.Loop() {
				enter.Version, loss.Version = version+1, version+2
				version += 2
				if _, err := w.room.Apply(enter, w.now); err != nil {
					b.Fatal(err)
				}
				res, err := w.room.Apply(loss, w.now)
				if err != nil {
					b.Fatal(err)
				}
				report := protocol.Command{Verb: protocol.VerbReport, User: res.Notices[0].User, Departure: res.Notices[0].Departure}
				if _, err := w.room.Apply(report, w.now); err != nil {
					b.Fatal(err)
				}
				w.room.FlushPresence()
			}
		})
	}
}

// BenchmarkMassLoss is half of a room of 5,000 lost one by one, and what
// becomes of their departures: all are reported.
func BenchmarkMassLoss(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		w := large(b, 5000)
		b.StartTimer()
		w.room.EdgeDied("n1@a", w.now)
		w.room.EdgeDied("n2@a", w.now)
		var notices []Notice
		for i := range protocol.UserID(5000) {
			if i%4 > 1 {
				continue
			}
			res, err := w.room.Apply(protocol.Command{Verb: protocol.VerbLoss, User: i + 1, Version: 2}, w.now)
			if err != nil {
				b.Fatal(err)
			}
			notices = append(notices, res.Notices...)
		}
		for _, n := range notices {
			if _, err := w.room.Apply(protocol.Command{Verb: protocol.VerbReport, User: n.User, Departure: n.Departure}, w.now); err != nil {
				b.Fatal(err)
			}
		}
		if w.room.Owed() != 0 {
			b.Fatalf("%d are owed", w.room.Owed())
		}
	}
}

// BenchmarkLoad is a takeover of a room of 5,000.
func BenchmarkLoad(b *testing.B) {
	w := large(b, 5000)
	entries := w.room.Entries()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(testRoom, w.cfg, 9, w.mint, entries); err != nil {
			b.Fatal(err)
		}
	}
}
