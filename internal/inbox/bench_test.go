package inbox

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// benchPair returns two running actors whose handlers do nothing but answer.
func benchPair(b *testing.B) (from, to *actor, caught *atomic.Int64) {
	n := newNetwork(1)
	caught = new(atomic.Int64)
	quick := func(c *Config) {
		c.Handle = func(_ protocol.Incarnation, _ Kind, body []byte, answer func([]byte)) { answer(body) }
		c.Cast = func(protocol.Incarnation, Kind, []byte) { caught.Add(1) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	from = newActor(b, n, "a@1", quick).run(ctx)
	to = newActor(b, n, "b@1", quick).run(ctx)
	b.Cleanup(func() {
		cancel()
		<-from.over
		<-to.over
	})
	if _, err := from.Call(ctx, "b@1", 1, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	return from, to, caught
}

// BenchmarkCall makes one call after the other.
func BenchmarkCall(b *testing.B) {
	from, _, _ := benchPair(b)
	body := make([]byte, 128)
	for b.Loop() {
		if _, err := from.Call(context.Background(), "b@1", 1, body); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGo keeps half a window of calls under way.
func BenchmarkGo(b *testing.B) {
	from, _, _ := benchPair(b)
	places := make(chan struct{}, 512)
	var failed atomic.Int64
	done := func(_ []byte, err error) {
		if err != nil {
			failed.Add(1)
		}
		<-places
	}
	body := make([]byte, 128)
	for b.Loop() {
		places <- struct{}{}
		from.Go("b@1", 1, body, done)
	}
	for range cap(places) {
		places <- struct{}{}
	}
	if failed.Load() > 0 {
		b.Fatalf("%d calls failed", failed.Load())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkGoSelf is BenchmarkGo to ourselves.
func BenchmarkGoSelf(b *testing.B) {
	from, _, _ := benchPair(b)
	places := make(chan struct{}, 512)
	body := make([]byte, 128)
	for b.Loop() {
		places <- struct{}{}
		from.Go("a@1", 1, body, func([]byte, error) { <-places })
	}
	for range cap(places) {
		places <- struct{}{}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkCast casts as fast as casts are accepted.
func BenchmarkCast(b *testing.B) {
	from, _, caught := benchPair(b)
	body := make([]byte, 256)
	for b.Loop() {
		for errors.Is(from.Cast("b@1", 1, body), ErrFull) {
			runtime.Gosched()
		}
	}
	for caught.Load() < int64(b.N) {
		runtime.Gosched()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "casts/s")
}

// BenchmarkComposeAndTake is the work of the pure part for one payload of 64
// calls and their answers.
func BenchmarkComposeAndTake(b *testing.B) {
	now := dawn()
	x, y := newLink("a@1", "b@1", Config{}.withDefaults().terms()), newLink("b@1", "a@1", Config{}.withDefaults().terms())
	body := make([]byte, 128)
	var buf []byte
	var items []item
	var out []delivery
	pass := func(from, to *link) {
		buf, _ = from.compose(now, buf[:0])
		from.published(now, 1, nil)
		h, rest, err := parseHeader(buf)
		if err == nil {
			items, err = parseItems(items[:0], rest)
		}
		if err == nil {
			out, _, err = to.take(now, h, items, out[:0])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		for range 64 {
			if _, err := x.call(now, 1, body, nil); err != nil {
				b.Fatal(err)
			}
		}
		pass(x, y)
		for _, d := range out {
			y.answer(d.number, len(d.body), nil)
		}
		pass(y, x)
	}
}
