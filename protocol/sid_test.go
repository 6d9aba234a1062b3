package protocol

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestSID(t *testing.T) {
	t.Parallel()
	secret := [16]byte{0: 0x12, 7: 0xff, 15: 0x01}
	for _, user := range []UserID{1, 42, 1<<63 - 1} {
		sid := FormatSID(user, secret)
		if len(sid) != len(user.String())+1+32+2 {
			t.Errorf("user %d: sid %q", user, sid)
		}
		if got, err := ParseSID(sid); err != nil || got != user {
			t.Errorf("%s: got %d, %v", sid, got, err)
		}
		if got, err := ParseDevSID(sid); err != nil || got != user {
			t.Errorf("%s in development: got %d, %v", sid, got, err)
		}
	}
}

func TestSIDChecksum(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]byte{
		"": 0, "1": 49, "\xff": 0, "\xff\x01": 1,
		// 4, 2, s and thirty-two zeros: 52 + 50 + 115 + 32*48 = 1753 = 6*255 + 223
		"42s" + strings.Repeat("0", 32): 223,
	} {
		if got := SIDChecksum(body); got != want {
			t.Errorf("%q: got %d, want %d", body, got, want)
		}
	}
	if _, err := ParseSID("42s" + strings.Repeat("0", 32) + "df"); err != nil {
		t.Error(err)
	}
}

func TestParseSIDRefuses(t *testing.T) {
	t.Parallel()
	good := FormatSID(42, [16]byte{})
	short := good[:len(good)-4]
	short += fmt.Sprintf("%02x", SIDChecksum(short))
	for _, sid := range []string{
		"", "s", "42", "42s", "42x" + good[3:], "0s" + good[3:], "-42" + good[2:], "+42" + good[2:], " 42" + good[2:],
		"43" + good[2:], good + "0", good + "00", short, good[:len(good)-1], good[:len(good)-2] + "00", "42s" + strings.Repeat("g", 34),
		strings.Repeat("9", 19) + good[2:], strings.Repeat("9", 20) + good[2:], strings.Repeat("9", 10000),
	} {
		if user, err := ParseSID(sid); !errors.Is(err, ErrSID) || user != 0 {
			t.Errorf("%.40q: got %d, %v", sid, user, err)
		}
	}
	for _, sid := range []string{"42d." + good[3:], "42d.", "d.x"} {
		if user, err := ParseSID(sid); !errors.Is(err, ErrSIDLoggedOut) || user != 0 {
			t.Errorf("%q: got %d, %v", sid, user, err)
		}
	}
}

func TestParseDevSID(t *testing.T) {
	t.Parallel()
	for sid, want := range map[string]UserID{"42stest": 42, "7s": 7, "7sss\x00房": 7} {
		if got, err := ParseDevSID(sid); err != nil || got != want {
			t.Errorf("%q: got %d, %v", sid, got, err)
		}
	}
	for _, sid := range []string{"", "s", "42", "stest", "0stest", "42 stest", "42test", "99999999999999999999s"} {
		if got, err := ParseDevSID(sid); !errors.Is(err, ErrSID) || got != 0 {
			t.Errorf("%q: got %d, %v", sid, got, err)
		}
	}
}

// FuzzParseSID checks that a sid parses only if it is one of its user's.
func FuzzParseSID(f *testing.F) {
	f.Add(FormatSID(42, [16]byte{1, 2, 3}))
	f.Add("42stest")
	f.Add("42d.x")
	f.Add("9223372036854775808s")
	f.Fuzz(func(t *testing.T, sid string) {
		dev, devErr := ParseDevSID(sid)
		if devErr == nil && (dev <= 0 || !strings.HasPrefix(strings.TrimLeft(sid, "0"), dev.String()+"s")) {
			t.Fatalf("%q is taken for user %d", sid, dev)
		}
		user, err := ParseSID(sid)
		if err == nil && (devErr != nil || user != dev || len(sid) < 1+1+34) {
			t.Fatalf("%q: user %d, in development %d (%v)", sid, user, dev, devErr)
		}
		if err != nil && !errors.Is(err, ErrSID) && !errors.Is(err, ErrSIDLoggedOut) {
			t.Fatal(err)
		}
	})
}
