package protocol

import (
	"testing"
	"time"
)

const (
	benchKey     = "7f0123456789abcdef0123456789abcdef"
	topicMessage = `{"action":"send_topic_msg","user_id":1233,"nickname":"小明","sex":1,"avatar_url":"https://img.example.com/a/1233.png","avatar_small_url":"https://img.example.com/a/1233_s.png","content":"大家好，欢迎来到房间","channel_name":"voice-12345"}`
)

// encoders returns one call of every encoder by its frame's action, or by what
// sets it apart where an action has two.
func encoders() map[string]func(dst []byte) []byte {
	seats := []SeatView{{ID: 1, Status: 1, Microphone: true, UserID: 7}, {ID: 2}}
	since := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	in := []OccupantView{{UserID: 7, Profile: someProfile, Seat: 1, Since: since, Online: true}}
	out := []PresenceOut{{User: 8, Reason: "closed"}}
	view := &RoomView{RoomID: "12", Epoch: 1, Seq: 2, Rev: 3, Count: 1, ChannelName: "c", Occupants: in, Seats: seats}
	return map[string]func([]byte) []byte{
		"create_token": func(dst []byte) []byte {
			return AppendCreateToken(dst, CreateToken{
				OnlineToken: benchKey, PingInterval: 15 * time.Second, HeartbeatTimeout: 20 * time.Second,
				PlaceKnown: true, Room: "12", Call: CallRoom("c1"), SignKey: benchKey,
			})
		},
		"create_token, refused": func(dst []byte) []byte { return AppendCreateTokenError(dst, "", ReasonUnknownUser) },
		"exit_room": func(dst []byte) []byte {
			return AppendExitRoom(dst, ExitRoom{User: 7, ChannelName: "c", Seat: &seats[0], Departure: "1-2-3"})
		},
		"hang_up": func(dst []byte) []byte {
			return AppendHangUp(dst, HangUp{User: 7, Receiver: 8, CallNo: "c1", Departure: "1-2-3"})
		},
		"enter_room": func(dst []byte) []byte {
			return AppendEnterRoom(dst, EnterRoom{User: 7, Profile: someProfile, ChannelName: "c"})
		},
		"up": func(dst []byte) []byte {
			return AppendUp(dst, Up{User: 7, Seat: 3, Profile: someProfile, ChannelName: "c"})
		},
		"down":   func(dst []byte) []byte { return AppendDown(dst, Down{User: 7, Seat: 3, ChannelName: "c"}) },
		"drain":  func(dst []byte) []byte { return AppendDrain(dst, 1500*time.Millisecond) },
		"error":  func(dst []byte) []byte { return AppendError(dst, ActionUp, "r1", CodeForbidden, "not allowed") },
		"synced": func(dst []byte) []byte { return AppendSynced(dst, "12", 1, 2) },
		"resync": func(dst []byte) []byte { return AppendResync(dst, view) },
		"entered": func(dst []byte) []byte {
			return AppendEntered(dst, Entered{Room: "12", Epoch: 1, Seq: 2, Rev: 3, Count: 1, Seats: seats})
		},
		"presence": func(dst []byte) []byte {
			return AppendPresence(dst, Presence{Room: "12", Epoch: 1, Rev: 3, In: in, Out: out, Count: 1})
		},
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	var v Verifier
	hmacFrame, err := AppendSigned(nil, []byte(signVector), benchKey)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseClientFrame(hmacFrame); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hmac", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f, err := ParseClientFrame(hmacFrame); err != nil || !v.HMAC(&f, benchKey) {
				b.Fatal("refused")
			}
		}
	})
	md5Frame := []byte(pingFrame)
	b.Run("md5", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f, err := ParseClientFrame(md5Frame); err != nil || !v.MD5(&f) {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkNumber(b *testing.B) {
	dst, frame := make([]byte, 0, 4096), []byte(topicMessage)
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Number(dst, frame, "12345", 1<<50, 7); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	dst := make([]byte, 0, 4096)
	for name, encode := range encoders() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				encode(dst)
			}
		})
	}
}

func BenchmarkPublications(b *testing.B) {
	batch := make([]Publication, 100)
	for i := range batch {
		batch[i] = Publication{Room: "12345", Epoch: 1 << 50, Seq: Seq(i), Frame: []byte(topicMessage)}
	}
	encoded := AppendPublications(nil, batch)
	dst, parsed := make([]byte, 0, 2*len(encoded)), make([]Publication, 0, len(batch))
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			AppendPublications(dst, batch)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParsePublications(parsed, encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHostile has the dearest frames of MaxClientFrame bytes that we know.
func BenchmarkHostile(b *testing.B) {
	for name, raw := range hostileFrames() {
		b.Run(name, func(b *testing.B) {
			var v Verifier
			b.ReportAllocs()
			for b.Loop() {
				if f, err := ParseClientFrame(raw); err == nil {
					v.HMAC(&f, benchKey)
				}
			}
		})
	}
}
