package mns

import (
	"bytes"
	"net/http"
	"strings"
)

// maxHeaders is how many header fields a plain request has at most.
const maxHeaders = 24

// parsePlain reads the head of a plain request into r, and returns its length
// and that of the body; ended means that it has not come whole.
//
// A plain request is one that cannot be read in two ways. Its lines end in CR LF
// and hold no control characters; it is a GET, POST, PUT or DELETE of a path, in
// HTTP/1.1; no field is there twice, none but Host, Content-Length and those
// without a meaning for the connection; Connection may be keep-alive.
func parsePlain(in []byte, r *http.Request, values *[maxHeaders]string) (head, length int, v verdict) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, ended
	}
	head = end + 4
	if head > maxHead {
		return 0, 0, special
	}
	text := string(in[:end+2])
	line, text, _ := strings.Cut(text, "\r\n")
	if !requestLine(line, r) {
		return 0, 0, special
	}
	clear(r.Header)
	r.Host, r.ContentLength = "", 0
	for n := 0; text != ""; n++ {
		line, text, _ = strings.Cut(text, "\r\n")
		name, value, ok := headerLine(line)
		if !ok || n == maxHeaders {
			return 0, 0, special
		}
		switch name {
		case "Host":
			if r.Host != "" || !plainHost(value) {
				return 0, 0, special
			}
			r.Host = value
			continue
		case "Content-Length":
			if r.ContentLength, ok = digits(value); !ok {
				return 0, 0, special
			}
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return 0, 0, special
			}
		case "Transfer-Encoding", "Expect", "Upgrade", "Te", "Trailer", "Proxy-Connection", "Keep-Alive":
			return 0, 0, special
		}
		if _, twice := r.Header[name]; twice {
			return 0, 0, special
		}
		values[n] = value
		r.Header[name] = values[n : n+1 : n+1]
	}
	if r.Host == "" {
		return 0, 0, special
	}
	return head, int(r.ContentLength), plain
}

// requestLine reads the first line.
func requestLine(line string, r *http.Request) bool {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		return false
	}
	if version != "HTTP/1.1" || !strings.HasPrefix(target, "/") {
		return false
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f || target[i] == '#' {
			return false
		}
	}
	r.Method, r.RequestURI = method, target
	return true
}

// headerLine reads a field, its name in canonical form.
func headerLine(line string) (name, value string, ok bool) {
	colon := strings.IndexByte(line, ':')
	if colon < 1 {
		return "", "", false
	}
	name, value = line[:colon], strings.Trim(line[colon+1:], " \t")
	for i := range len(name) {
		if c := name[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return "", "", false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "", "", false
		}
	}
	return http.CanonicalHeaderKey(name), value, true
}

// plainHost reports whether a host is letters, digits and their like.
func plainHost(host string) bool {
	for i := range len(host) {
		if c := host[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(".:-_[]", rune(c)) {
			return false
		}
	}
	return host != ""
}

// digits reads a length.
func digits(text string) (n int64, ok bool) {
	if text == "" || len(text) > 9 {
		return 0, false
	}
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
