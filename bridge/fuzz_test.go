package bridge

import (
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"", "redis://h", "rediss://u:p@a:1,b/2?master=m", "h,,h", "redis://[::1]:1", "redis://h?cluster=x", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if o, err := parseURL(text); err == nil && len(o.Addrs) == 0 {
			t.Errorf("%q is no address, and no fault", text)
		}
	})
}

// What is in the store may be damaged; it must not harm who reads it.
func FuzzDecodeRecordsAndIntents(f *testing.F) {
	for _, seed := range []string{
		"", `{"f":1,"c":1,"v":2,"s":3,"x":{"reason":"x","at":4}}`, `{"f":2}`, `{"f":1,"x":null}`, `[]`, "\xff",
		`{"f":1,"u":"7","v":1,"l":["r"],"b":"AP8=","at":1}`, `{"f":1,"u":"x"}`, `{"f":1,"u":"7","b":"%"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		record, err := decodeRecord(7, text)
		if err == nil && record.User != 7 {
			t.Errorf("%q is the record of user %d", text, record.User)
		}
		if err == nil && text != "" {
			back, err := encodeRecord(record)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := decodeRecord(7, string(back)); err != nil || without(again) != without(record) && again.Removal == nil {
				t.Errorf("%q becomes %s: %v", text, back, err)
			}
		}
		if intent, err := decodeIntent(text); err != nil && intent.User != 0 {
			t.Errorf("%q is refused but answered with %+v", text, intent)
		}
	})
}

func FuzzParseConnectionsAndEventIDs(f *testing.F) {
	for _, seed := range []string{"", "n1@a 7 8", "n1@a 7", "a b c d", "n1@a -7 8", "1-00112233", "0-00112233", "99999999999999999999-00112233", "1-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if conn, err := parseConnection(text); err != nil && conn != (protocol.UserConn{}) {
			t.Errorf("%q is refused but answered with %+v", text, conn)
		}
		if serial, sum, err := parseEventID(text); err == nil && (serial <= 0 || len(sum) != 8) {
			t.Errorf("%q is event %d, %q", text, serial, sum)
		}
	})
}
