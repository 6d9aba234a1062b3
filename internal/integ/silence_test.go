package integ

import (
	"testing"
	"time"

	"github.com/lxzan/gws"
)

// C7: 20 s without a heartbeat is a loss, counted from create_token. Only good
// frames count.
func TestSilenceIsALoss(t *testing.T) {
	everywhere(t, func(t *testing.T, s *stage) {
		b := s.relay(s.b, host)
		alive := s.come(s.a, nil)
		for name, noise := range map[string]func(*phone){
			"nothing":         func(*phone) {},
			"protocol pings":  func(p *phone) { _ = p.ws.WritePing(nil) },
			"no JSON":         func(p *phone) { p.sayRaw(gws.OpcodeText, []byte("ping")) },
			"a foreign token": func(p *phone) { p.say(fields{"action": "ping", "online_token": alive.token().fields["online_token"]}) },
			"a wrong sign":    func(p *phone) { p.sayRaw(gws.OpcodeText, encode(p.whole(fields{"action": "ping", "sign": "0"}))) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				began := time.Now() // the edge may count from some time before the phone reads create_token
				a := s.phone(newUser(), s.a, phoneOptions{sign: s.sign, silent: true})
				s.enter(s.a, s.room, a.user, nil)
				stop := repeat(3*time.Second, func() { noise(a) })
				defer stop()
				eventually(t, 25*time.Second, closedWith(a, 4002))
				eventually(t, time.Second, told(b, "exit_room", a.user, 1))
				out := b.heardOf("exit_room", a.user)[0].at
				if after := out.Sub(a.token().at); out.Sub(began) < 20*time.Second || after > 21500*time.Millisecond {
					t.Errorf("out %s after create_token, want 20 to 21 s", after)
				}
			})
		}
		t.Cleanup(func() { stands(t, alive, b) })
	})
}

// repeat does something again and again until the returned function is called.
func repeat(every time.Duration, do func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
