package sign

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func head(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// The vectors below were recorded from official clients.

func TestV2Vector(t *testing.T) {
	t.Parallel()
	r := Request{Method: "PUT", Target: "/queues/jq", Header: head(
		"Content-Type", "text/xml;charset=UTF-8", "Date", "Sun, 22 Nov 2026 09:01:42 GMT", "x-mns-version", "2015-06-06")}
	if got, want := V2("sk", r), "Jymfu2kSPaXQC77YTamRmnXfnWE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	r.Target = "http://proxy.example:80/queues/jq"
	if got, want := V2("sk", r), "Jymfu2kSPaXQC77YTamRmnXfnWE="; got != want {
		t.Errorf("signature of an absolute target %s, want %s", got, want)
	}
}

func TestV4Vector(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 9, 2, 49, 0, time.UTC)
	r := Request{Method: "GET", Target: "/queues/jq/messages?waitseconds=5", Header: head(
		"Content-Type", "text/xml;charset=UTF-8", "x-mns-version", "2015-06-06")}
	got := V4(Public, "sk", Scope{Day: "20261122", Region: "cn-hangzhou"}, at, r)
	if want := "3f0ad4e5c06c5ebd89d2f4a40f8b90dbbf543c2fcb6b2d7ac3adb6bf01d095d8"; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestSubscribeVector(t *testing.T) {
	t.Parallel()
	got := Subscribe("sk", "Mon, 02 Jan 2006 15:04:05 GMT", "room1", "room1")
	if want := "ny6m8BPlUaKEKwLWEOJL8Dqsqdo="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestV2TakesXMnsDateWithoutDate(t *testing.T) {
	t.Parallel()
	with := Request{Method: "GET", Target: "/", Header: head("Date", "D", "x-mns-date", "D", "x-mns-version", "v")}
	without := Request{Method: "GET", Target: "/", Header: head("x-mns-date", "D", "x-mns-version", "v")}
	if V2("s", with) != V2("s", without) {
		t.Error("the Date line does not fall back to x-mns-date")
	}
}

func TestParseAuthorization(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, id, signature string }{
		{"MNS ak:sig=", "ak", "sig="},
		{"MNS4-HMAC-SHA256 Credential=ak/20261122/r/mns/aliyun_v4_request,Signature=ff", "ak", "ff"},
		{"MNS4-HMAC-SHA256 Credential=a/k/20261122/r/mns/aliyun_v4_request, Signature=ff", "a/k", "ff"},
		{"APSARA-MNS4-HMAC-SHA256 Credential=ak/20261122/r/mns/apsara_v4_request,Signature=ff", "ak", "ff"},
	} {
		if a, err := ParseAuthorization(c.in); err != nil || a.KeyID != c.id || a.Signature != c.signature {
			t.Errorf("%q: %+v, %v", c.in, a, err)
		}
	}
	for _, in := range []string{
		"", "MNS", "MNS x", "MNS :sig", "MNS ak:", "mns ak:sig", "Bearer ak:sig", "MNS ak:sig more", "MNS4-HMAC-SHA256 ",
		"MNS4-HMAC-SHA256 Credential=ak/r/mns/aliyun_v4_request,Signature=ff",
		"MNS4-HMAC-SHA256 Credential=ak/20261122/r/oss/aliyun_v4_request,Signature=ff",
		"MNS4-HMAC-SHA256 Credential=ak/20261122/r/mns/apsara_v4_request,Signature=ff",
		"MNS4-HMAC-SHA256 Credential=ak/20261122/r/mns/aliyun_v4_request",
		"MNS ak:" + strings.Repeat("x", 2000),
	} {
		if a, err := ParseAuthorization(in); err == nil {
			t.Errorf("%q was read as %+v", in, a)
		}
	}
}

func FuzzParseAuthorization(f *testing.F) {
	f.Add("MNS ak:sig")
	f.Add("MNS4-HMAC-SHA256 Credential=ak/20261122/r/mns/aliyun_v4_request,Signature=ff")
	f.Add("MNS4-HMAC-SHA256 Credential=////mns/aliyun_v4_request,Signature=")
	f.Fuzz(func(t *testing.T, header string) {
		a, err := ParseAuthorization(header)
		if err == nil && (a.KeyID == "" || a.Signature == "") {
			t.Errorf("%q was read without key or signature", header)
		}
	})
}

func TestCheckV2(t *testing.T) {
	t.Parallel()
	s := NewSigner("secret")
	r := Request{Method: "GET", Target: "/queues/q", Header: head("Date", "D", "X-Mns-Version", "v", "X-MNS-b", "2", "x-mns-A", "1")}
	good := s.V2(r)
	if !s.CheckV2(good, r) {
		t.Error("its own signature is refused")
	}
	for _, bad := range []string{"", good[:27], good + "=", "A" + good[1:], V2("other", r)} {
		if bad != good && s.CheckV2(bad, r) {
			t.Errorf("%q is taken", bad)
		}
	}
	r.Method = "PUT"
	if s.CheckV2(good, r) {
		t.Error("another request's signature is taken")
	}
}
