package push

import (
	"testing"
	"testing/synctest"
)

// The helper leaves a long line to the others, is called once it is short, and
// where the other worker has no time. All are told when to stop.
func TestHelperLeavesALongLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWriters()
		push := func(n int) { w.push(make([]*Conn, n)...) }
		push(helpUpTo + 2*turn)
		helped := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			var into [turn]*Conn
			for n := -1; n != 0; helped += n {
				n = len(w.next(into[:], true))
			}
		}()
		helps := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if helped != want {
				t.Errorf("helped %d connections %s, want %d", helped, when, want)
			}
		}
		var into [turn]*Conn
		helps(0, "beside a long line")
		w.next(into[:], false)
		helps(0, "beside a long line, still")
		w.next(into[:], false)
		helps(helpUpTo, "once the line was short")
		go w.next(into[:], false) // a worker that is busy from its first turn on
		synctest.Wait()
		push(1)
		helps(helpUpTo, "beside an idle worker")
		push(1)
		helps(helpUpTo+1, "beside a busy worker")
		w.stop()
		<-done
	})
}
