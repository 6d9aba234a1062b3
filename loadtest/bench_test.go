package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// BenchmarkReceive is what a frame costs the load itself: a sink in this process
// writes frames to users' sockets, some at a time, and knows nothing of rooms.
// An operation is one frame received, measured and counted.
func BenchmarkReceive(b *testing.B) {
	for _, together := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("%d", together), func(b *testing.B) { benchmarkReceive(b, together) })
	}
}

func benchmarkReceive(b *testing.B, together int) {
	const clients = 200
	f := newFake(b)
	w := &Worker{}
	if err := w.Up(Share{Settings: f.settings("steady", clients), Of: 1}, nil); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = w.Down(struct{}{}, nil) }()
	rec := w.up().rec
	frame := func() []byte {
		text := `{"action":"send_topic_msg","user_id":1,"nickname":"load","content":"` + stamped(time.Now(), 128) + `"}`
		head := binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(text)))
		return append(head, text...)
	}
	rounds := b.N/(clients*together) + 1
	want := rec.total(cDelivered) + int64(rounds*clients*together)
	f.mu.Lock()
	defer f.mu.Unlock()
	b.ResetTimer()
	before := usage()
	for range rounds {
		burst := strings.Repeat(string(frame()), together)
		for _, c := range f.conns {
			if _, err := io.WriteString(c.NetConn(), burst); err != nil {
				b.Fatal(err)
			}
		}
	}
	for tick := time.NewTicker(time.Millisecond); rec.total(cDelivered) < want; {
		<-tick.C
	}
	b.StopTimer()
	b.ReportMetric(float64(rounds*clients*together)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64((usage()-before).Nanoseconds())/float64(rounds*clients*together), "cpu-ns/frame")
}
