package bridge

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

var shape = protocol.ClusterShape{Partitions: 4093, Hash: "xxhash", Load: 1.25, Replication: 100}

func TestRegisterRefusesAnotherShape(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		first, second := b.client(t), b.client(t)
		check(t, first.Register(t.Context(), shape))
		check(t, second.Register(t.Context(), shape))
		other := shape
		other.Partitions = 271
		err := second.Register(t.Context(), other)
		if err == nil || errors.Is(err, protocol.ErrStoreAway) {
			t.Fatalf("another shape was answered with %v", err)
		}
		if text := err.Error(); !strings.Contains(text, "4093") || !strings.Contains(text, "271") {
			t.Errorf("%q does not name both shapes", text)
		}
		b.flush(t)
		check(t, second.Register(t.Context(), other))
	})
}

func TestRenewTellsAllLives(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		first, second := b.client(t), b.client(t)
		check(t, first.Register(t.Context(), shape))
		a := must(first.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}))(t)
		if got := a.Until[n1].Sub(a.Now); got != time.Minute {
			t.Errorf("a lease of 1m ends after %s", got)
		}
		if skew := time.Since(a.Now).Abs(); skew > time.Minute {
			t.Errorf("the store's clock is off by %s", skew)
		}
		again := must(second.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n2, Length: 2 * time.Second}))(t)
		if len(again.Until) != 2 || !again.Until[n1].Equal(a.Until[n1]) {
			t.Errorf("leases are %v", again.Until)
		}
		if again.Store == "" || again.Store != a.Store {
			t.Errorf("the store's name changed from %q to %q", a.Store, again.Store)
		}
		b.flush(t)
		empty := must(first.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}))(t)
		if empty.Store == a.Store {
			t.Error("an emptied store kept its name")
		}
		if len(empty.Until) != 1 {
			t.Errorf("leases after the loss are %v", empty.Until)
		}
		same := must(second.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}))(t)
		if same.Store != empty.Store {
			t.Errorf("the store's name is %q and %q", empty.Store, same.Store)
		}
	})
}

func TestBury(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		s := b.client(t)
		must(s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n2, Length: time.Minute}))(t)
		leases := must(s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: 300 * time.Millisecond}))(t)
		if _, err := s.Bury(t.Context(), n1); !errors.Is(err, protocol.ErrLeaseLive) {
			t.Fatalf("a living lease was buried: %v", err)
		}
		var died time.Time
		eventually(t, "bury after the lease's end", func() bool {
			var err error
			died, err = s.Bury(t.Context(), n1)
			return err == nil
		})
		if !died.Equal(leases.Until[n1]) {
			t.Errorf("died at %s, but the lease ended at %s", died, leases.Until[n1])
		}
		if again := must(b.client(t).Bury(t.Context(), n1))(t); !again.Equal(died) {
			t.Errorf("died at %s, then at %s", died, again)
		}
		if _, err := s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}); !errors.Is(err, protocol.ErrBuried) {
			t.Errorf("renewal after death: %v", err)
		}
		leases = must(s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n2, Length: time.Minute}))(t)
		if _, leased := leases.Until[n1]; leased {
			t.Error("a buried incarnation has a lease")
		}
		if !leases.Tombstones[n1].Equal(died) {
			t.Errorf("tombstones are %v", leases.Tombstones)
		}
	})
}

func TestBuryOneWithoutALease(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		before := must(s.Now(t.Context()))(t)
		died := must(s.Bury(t.Context(), n1))(t)
		after := must(s.Now(t.Context()))(t)
		if died.Before(before) || died.After(after) {
			t.Errorf("died at %s, not between %s and %s", died, before, after)
		}
	})
}

func TestResign(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		leases := must(s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}))(t)
		died := must(s.Resign(t.Context(), n1))(t)
		if died.Before(leases.Now) || !died.Before(leases.Until[n1]) {
			t.Errorf("resigned at %s, having renewed at %s", died, leases.Now)
		}
		if again := must(s.Resign(t.Context(), n1))(t); !again.Equal(died) {
			t.Errorf("died at %s, then at %s", died, again)
		}
		if _, err := s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}); !errors.Is(err, protocol.ErrBuried) {
			t.Errorf("renewal after resignation: %v", err)
		}
	})
}

func TestBuriersAgree(t *testing.T) {
	eachStore(t, func(t *testing.T, b backend) {
		const buriers = 8
		died := make([]time.Time, buriers)
		var wg sync.WaitGroup
		for i := range buriers {
			s := b.client(t)
			wg.Go(func() {
				var err error
				if died[i], err = s.Bury(t.Context(), n1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, d := range died {
			if d.IsZero() || !d.Equal(died[0]) {
				t.Fatalf("died at %v", died)
			}
		}
	})
}

func TestTombstonesAreBounded(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		for i := range tombstoneLimit + 5 {
			must(s.Resign(t.Context(), protocol.Incarnation(fmt.Sprintf("old@%04d", i))))(t)
		}
		must(s.Bury(t.Context(), n2))(t)
		leases := must(s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: n1, Length: time.Minute}))(t)
		if len(leases.Tombstones) != tombstoneLimit {
			t.Errorf("%d tombstones are kept", len(leases.Tombstones))
		}
		if _, kept := leases.Tombstones["old@0000"]; kept {
			t.Error("the oldest tombstone is kept")
		}
		if _, kept := leases.Tombstones[n2]; !kept {
			t.Error("the latest tombstone is gone")
		}
	})
}

func TestNamesThatWouldRunIntoOthersAreRefused(t *testing.T) {
	onStore(t, func(t *testing.T, s store) {
		for _, inc := range []protocol.Incarnation{"", "a b", "a\nb", "a\x00"} {
			_, err := s.Renew(t.Context(), protocol.LeaseRenewal{Incarnation: inc, Length: time.Minute})
			if protocol.CodeOf(err) != protocol.CodeBadRequest {
				t.Errorf("incarnation %q was answered with %v", inc, err)
			}
		}
	})
}
