package mns

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzParsePlain holds what is read as a plain request against net/http.
func FuzzParsePlain(f *testing.F) {
	for _, in := range []string{
		"GET /queues/q HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /queues/q/messages?a=%3D HTTP/1.1\r\nHost: h:1\r\nx-mns-version: 2015-06-06\r\nContent-Length: 3\r\n\r\nabcGET",
		"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\nHost: h\n\n", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\nA: \rb\r\n\r\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := &http.Request{Header: http.Header{}}
		var values [maxHeaders]string
		head, length, v := parsePlain(in, r, &values)
		if v != plain {
			return
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in)))
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse ") {
				return // is answered as a path that does not exist
			}
			t.Fatalf("%q was read, net/http says %v", in, err)
		}
		if !bytes.HasSuffix(in[:head], []byte("\r\n\r\n")) || int64(length) != want.ContentLength {
			t.Fatalf("%q: head of %d, body of %d, want %d", in, head, length, want.ContentLength)
		}
		if r.Method != want.Method || r.RequestURI != want.RequestURI || r.Host != want.Host || want.Close ||
			len(want.TransferEncoding) > 0 {
			t.Fatalf("%q was read as %+v, want %+v", in, r, want)
		}
		if len(r.Header) != len(want.Header) {
			t.Fatalf("%q: header %v, want %v", in, r.Header, want.Header)
		}
		for name, values := range want.Header {
			if len(values) != 1 || r.Header.Get(name) != values[0] {
				t.Fatalf("%q: %s is %q, want %q", in, name, r.Header[name], values)
			}
		}
	})
}
