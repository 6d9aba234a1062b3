package bridge

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/storetest"
)

func TestMNSSuite(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(testing.TB) string{
		"redis":     testServers.single,
		"cluster":   testServers.cluster,
		"miniredis": func(t testing.TB) string { return "redis://" + miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) storetest.Open {
				at, prefix := url(t), newPrefix()
				return func(t testing.TB, node string) mns.Store {
					return NewMNS(openRedis(t, Config{URL: at, Prefix: prefix, Timeout: 10 * time.Second}), node)
				}
			})
		})
	}
}

// TestMNSModel plays schedules of a day on the scripts, in virtual time.
func TestMNSModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		schedule := storetest.Draw(rt)
		var err error
		synctest.Test(t, func(t *testing.T) {
			m := miniredis.NewMiniRedis()
			defer m.Close()
			r, openErr := Open(Config{
				Dial: func(context.Context, string, string) (net.Conn, error) { return m.Dial() },
			})
			if openErr != nil {
				t.Fatal(openErr)
			}
			defer func() { _ = r.Disconnect() }()
			err = schedule.Play(t.Context(), NewMNS(r, "n1"))
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func TestMNSRecord(t *testing.T) {
	t.Parallel()
	d := chat.Draft{ID: "id", MD5: "md5", Extra: "<a>\n</a>", Body: "\n1\n\nbody"}
	got, sent, err := decodeDraft("1700000000000\n" + encodeDraft(&d))
	if err != nil || got != d || sent.UnixMilli() != 1700000000000 {
		t.Fatalf("decoded %+v, %v, %v", got, sent, err)
	}
	for _, bad := range []string{"", "1\n", "x\n1\ni\nm\n0\nb", "1\n2\ni\nm\n0\nb", "1\n1\ni\nm\n-1\nb", "1\n1\ni\nm\n2\nb"} {
		if _, _, err := decodeDraft(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzMNSNews(f *testing.F) {
	p := chat.Publication{ID: "id", MD5: "md5", Tag: "tag", Body: "body", Importance: 3, At: time.UnixMilli(5).UTC()}
	f.Add(string(encodeNews(&chat.News{Publication: &p})))
	f.Add(string(encodeNews(&chat.News{Changed: "s"})))
	f.Add(string(encodeNews(&chat.News{Gone: true})))
	f.Add("\x01p\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := decodeNews("t", text)
		if err != nil {
			return
		}
		again, err := decodeNews("t", string(encodeNews(&n)))
		if err != nil {
			t.Fatalf("%q was read, but not what it means: %v", text, err)
		}
		if (n.Publication == nil) != (again.Publication == nil) ||
			n.Publication != nil && *n.Publication != *again.Publication || n.Changed != again.Changed || n.Gone != again.Gone {
			t.Fatalf("%+v became %+v", n, again)
		}
	})
}
