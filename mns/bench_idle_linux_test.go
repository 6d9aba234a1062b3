package mns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// BenchmarkIdle holds 5,000 long polls, each on a connection of its own, and
// says what they use while nothing comes. An operation is ten such seconds.
func BenchmarkIdle(b *testing.B) {
	const polls, window = 5000, 10 * time.Second
	for _, queues := range []int{1, 500, polls} {
		b.Run(fmt.Sprint(queues, "-queues"), func(b *testing.B) {
			r := newRig(b)
			names := make([]chat.QueueName, queues)
			for i := range names {
				names[i] = chat.QueueName(fmt.Sprintf("q%d", i))
				r.createQueue(string(names[i]), "")
			}
			lines := make([]*line, polls)
			for i := range lines {
				lines[i] = r.line(0)
			}
			b.ResetTimer()
			for range b.N {
				idle(b, r, names, lines, window)
			}
		})
	}
}

func idle(b *testing.B, r *rig, names []chat.QueueName, lines []*line, window time.Duration) {
	b.Helper()
	b.StopTimer()
	for i, l := range lines {
		if _, err := l.conn.Write(l.request("GET", fmt.Sprintf("/queues/%s/messages?waitseconds=30", names[i%len(names)]), "")); err != nil {
			b.Fatal(err)
		}
	}
	start := time.Now()
	for _, q := range names {
		r.waiting(0, q, len(lines)/len(names))
	}
	time.Sleep(4 * time.Second) // so that what they began with is over
	b.StartTimer()
	own, redis := cpuTime(b)
	time.Sleep(window)
	ownAfter, redisAfter := cpuTime(b)
	b.StopTimer()
	b.ReportMetric(100*(ownAfter-own).Seconds()/window.Seconds(), "%-of-a-core")
	b.ReportMetric(100*(redisAfter-redis).Seconds()/window.Seconds(), "redis-%-of-a-core")
	if waited := time.Since(start); waited > 29*time.Second {
		b.Fatalf("it took %v to begin: some have ended", waited)
	}
	for _, l := range lines {
		if status, body := l.answer(); status != 404 {
			b.Fatalf("answered %d %s", status, body)
		}
	}
	b.StartTimer()
}
