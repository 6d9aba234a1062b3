package sign

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Flavor is one of the dialects of version 4.
type Flavor struct {
	// Algorithm begins the header and what is signed; the other two are mixed
	// into the key.
	Algorithm, KeyPrefix, Terminator string
}

// Public is what the service's own SDKs speak, Private what they speak to
// private clouds.
var (
	Public  = Flavor{"MNS4-HMAC-SHA256", "aliyun_v4", "aliyun_v4_request"}
	Private = Flavor{"APSARA-MNS4-HMAC-SHA256", "apsara_v4", "apsara_v4_request"}
)

// Scope is what a key of version 4 is good for.
type Scope struct {
	Day, Region string // yyyyMMdd
}

const service = "mns"

// V4 returns the signature of version 4, in hex.
func V4(f Flavor, secret string, scope Scope, at time.Time, r Request) string {
	key := []byte(f.KeyPrefix + secret)
	for _, part := range []string{scope.Day, scope.Region, service, f.Terminator} {
		key = mac256(key, part)
	}
	text := f.Algorithm + "\n" + at.UTC().Format("20060102T150405Z") + "\n" +
		scope.Day + "/" + scope.Region + "/" + service + "/" + f.Terminator + "\n" + r.stringV4()
	return hex.EncodeToString(mac256(key, text))
}

func mac256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// stringV4 is the request in the canonical form of version 4.
func (r Request) stringV4() string {
	path, query, _ := strings.Cut(originForm(r.Target), "?")
	b := make([]byte, 0, 256)
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = append(b, escapePath(path)...)
	b = append(b, '\n')
	b = append(b, canonicalQuery(query)...)
	b = append(b, '\n')
	for _, name := range []string{"content-md5", "content-type"} {
		if v := strings.TrimSpace(r.Header.Get(name)); v != "" {
			b = append(b, name...)
			b = append(b, ':')
			b = append(b, v...)
			b = append(b, '\n')
		}
	}
	b = r.appendHeaders(b)
	return string(append(b, '\n'))
}

// escapePath encodes what a path holds besides unreserved characters and '/'.
func escapePath(path string) string {
	if decoded, err := url.PathUnescape(path); err == nil {
		path = decoded
	}
	return strings.ReplaceAll(url.PathEscape(path), "%2F", "/")
}

// canonicalQuery orders the parameters by their lower-case names. Values are
// taken as sent.
func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	type parameter struct{ name, value string }
	var all []parameter
	for _, part := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		all = append(all, parameter{strings.ToLower(name), value})
	}
	slices.SortFunc(all, func(x, y parameter) int {
		return cmp.Or(strings.Compare(x.name, y.name), strings.Compare(x.value, y.value))
	})
	var b strings.Builder
	for i, p := range all {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		if p.value != "" {
			b.WriteString("=" + p.value)
		}
	}
	return b.String()
}
