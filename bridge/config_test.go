package bridge

import (
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		addresses, user, password, master string
		db                                int
		cluster, tls                      bool
	}{
		"redis://h":                              {addresses: "h:6379"},
		"h:7000":                                 {addresses: "h:7000"},
		"redis://[::1]:7000/3":                   {addresses: "[::1]:7000", db: 3},
		"rediss://u:p%2Cw%40@h:1/0":              {addresses: "h:1", user: "u", password: "p,w@", tls: true},
		"redis://:p@a:1,b:2,redis://c":           {addresses: "a:1 b:2 c:6379", password: "p"},
		"rediss://a,b:2":                         {addresses: "a:6379 b:2", tls: true},
		"redis://h?cluster=true":                 {addresses: "h:6379", cluster: true},
		"redis://a,b:1/2?master=m":               {addresses: "a:26379 b:1", master: "m", db: 2},
		"redis://u:p@a, b/1?master=m":            {addresses: "a:26379 b:26379", user: "u", password: "p", master: "m", db: 1},
		"redis://a?master=m&cluster=false":       {addresses: "a:26379", master: "m"},
		"redis://a?master=m&sentinel_password=x": {addresses: "a:26379", master: "m"},
	} {
		o, err := parseURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := strings.Join(o.Addrs, " "); got != want.addresses || o.Username != want.user || o.Password != want.password ||
			o.MasterName != want.master || o.DB != want.db || o.IsClusterMode != want.cluster || (o.TLSConfig != nil) != want.tls {
			t.Errorf("%s: %+v", text, o)
		}
	}
}

func TestParseURLNamesTheFaultButNoPassword(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://:secret@h":                     "scheme",
		"redis://:secret@":                     "address 1",
		"redis://:secret@h:port":               "address 1",
		"redis://:secret@a,:2":                 "address 2",
		"redis://:secret@h/x":                  "database",
		"redis://:secret@h/-1":                 "database",
		"redis://:secret@h?nonsense=1":         "nonsense",
		"redis://:secret@h?cluster=maybe":      "cluster",
		"redis://:secret@a,b/1":                "database 1",
		"redis://:secret@h?cluster=1&master=m": "master",
		"":                                     "address 1",
		"redis://:sec%zzret@h":                 "address 1",
	} {
		_, err := parseURL(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	err := Config{URL: "ftp://x", Prefix: "a b", Timeout: -1, Queue: -1}.Validate()
	if err == nil {
		t.Fatal("nothing is wrong")
	}
	for _, want := range []string{"scheme", "prefix", "timeout", "queue"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not mention the %s", err, want)
		}
	}
	if _, err := Open(Config{Prefix: "{x}"}); err == nil {
		t.Error("a prefix with a hash tag was accepted")
	}
}
