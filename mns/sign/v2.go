package sign

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
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
	desks sync.Pool // of *desk
}

// desk is what one signature takes.
type desk struct {
	mac  hash.Hash
	text []byte
	sum  [sha1.Size]byte
	out  [28]byte // in base64
}

// NewSigner returns a Signer.
func NewSigner(secret string) *Signer {
	return &Signer{desks: sync.Pool{New: func() any { return &desk{mac: hmac.New(sha1.New, []byte(secret))} }}}
}

// V2 returns the signature of version 2.
func (s *Signer) V2(r Request) string {
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	d.text = r.appendV2(d.text[:0])
	return string(d.sign(d.text))
}

// CheckV2 reports, in a time that does not tell where they differ, whether a
// signature is that of version 2.
func (s *Signer) CheckV2(signature string, r Request) bool {
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	d.text = r.appendV2(d.text[:0])
	want := d.sign(d.text)
	d.text = append(d.text[:0], signature...)
	return subtle.ConstantTimeCompare(d.text, want) == 1
}

func (s *Signer) sum(text string) string {
	d := s.desks.Get().(*desk)
	defer s.desks.Put(d)
	return string(d.sign([]byte(text)))
}

// sign returns the signature of a text, good until the next.
func (d *desk) sign(text []byte) []byte {
	d.mac.Reset()
	d.mac.Write(text)
	base64.StdEncoding.Encode(d.out[:], d.mac.Sum(d.sum[:0]))
	return d.out[:]
}

// appendV2 lays out what version 2 signs. Without a Date header the line holds
// x-mns-date, which stays among the others too.
func (r Request) appendV2(b []byte) []byte {
	b = append(b, r.Method...)
	date := r.Header.Get("Date")
	if date == "" {
		date = r.Header.Get("X-Mns-Date")
	}
	for _, line := range [...]string{r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), date} {
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
	if len(names) > 1 {
		slices.SortFunc(names, func(x, y string) int { return strings.Compare(strings.ToLower(x), strings.ToLower(y)) })
	}
	for _, name := range names {
		b = appendLower(b, name)
		b = append(b, ':')
		b = append(b, strings.TrimSpace(strings.Join(r.Header[name], ","))...)
		b = append(b, '\n')
	}
	return b
}

// Subscribe returns the signature of a websocket's control message: that of an
// imaginary request to make the subscription.
func Subscribe(secret, date, topic, subscription string) string {
	return NewSigner(secret).sum("PUT\n\ntext/xml;charset=UTF-8\n" + date +
		"\nx-mns-auth-only:1\nx-mns-version:2015-06-06\n/topics/" + topic + "/subscriptions/" + subscription)
}

func appendLower(b []byte, text string) []byte {
	for i := range len(text) {
		c := text[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}
