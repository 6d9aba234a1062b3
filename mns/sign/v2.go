package sign

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// headerPrefix begins the names of the headers that are signed all of them.
const headerPrefix = "x-mns-"

// Request is what a signature covers.
type Request struct {
	Method string
	// Target is the request's target, as sent.
	Target string
	Header http.Header
}

// V2 returns the signature of version 2.
func V2(secret string, r Request) string { return NewSigner(secret).V2(r) }

// Signer signs again and again with one secret, for less than the functions of
// the package. It is safe for concurrent use.
type Signer struct {
	macs sync.Pool // of hash.Hash, which are reset
}

// NewSigner returns a Signer.
func NewSigner(secret string) *Signer {
	return &Signer{macs: sync.Pool{New: func() any { return hmac.New(sha1.New, []byte(secret)) }}}
}

// V2 returns the signature of version 2.
func (s *Signer) V2(r Request) string { return s.sum(r.stringV2()) }

func (s *Signer) sum(text []byte) string {
	mac := s.macs.Get().(hash.Hash)
	defer s.macs.Put(mac)
	mac.Reset()
	mac.Write(text)
	var sum [sha1.Size]byte
	return base64.StdEncoding.EncodeToString(mac.Sum(sum[:0]))
}

// stringV2 lays out what version 2 signs. Without a Date header the line holds
// x-mns-date, which stays among the others too.
func (r Request) stringV2() []byte {
	b := make([]byte, 0, 256)
	b = append(b, r.Method...)
	date := r.Header.Get("Date")
	if date == "" {
		date = r.Header.Get("X-Mns-Date")
	}
	for _, line := range []string{r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), date} {
		b = append(b, '\n')
		b = append(b, line...)
	}
	b = append(b, '\n')
	b = r.appendHeaders(b)
	return append(b, originForm(r.Target)...)
}

// originForm is the target without scheme and host, which a client puts before
// it when it talks to a proxy.
func originForm(target string) string {
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(target, scheme); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				return rest[i:]
			}
			return "/"
		}
	}
	return target
}

// appendHeaders appends name:value and a line end for every x-mns- header, by
// name.
func (r Request) appendHeaders(b []byte) []byte {
	var space [8]string
	names := space[:0]
	for name := range r.Header {
		if len(name) > len(headerPrefix) && strings.EqualFold(name[:len(headerPrefix)], headerPrefix) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return strings.Compare(strings.ToLower(x), strings.ToLower(y)) })
	for _, name := range names {
		b = append(b, strings.ToLower(name)...)
		b = append(b, ':')
		b = append(b, strings.TrimSpace(strings.Join(r.Header[name], ","))...)
		b = append(b, '\n')
	}
	return b
}

// Subscribe returns the signature of a websocket's control message: that of an
// imaginary request to make the subscription.
func Subscribe(secret, date, topic, subscription string) string {
	return NewSigner(secret).sum([]byte("PUT\n\ntext/xml;charset=UTF-8\n" + date +
		"\nx-mns-auth-only:1\nx-mns-version:2015-06-06\n/topics/" + topic + "/subscriptions/" + subscription))
}
