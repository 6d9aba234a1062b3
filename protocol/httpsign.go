package protocol

import (
	"crypto/md5" //nolint:gosec // as in sign.go
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// SignParams returns the signature h of a request's parameters: the md5 of the
// md5 of all of them but h, _url and file, as sorted lines name=value joined
// with &, and of ckey, which may be one of them. Of a parameter given more
// than once, the last counts.
func SignParams(params url.Values) string {
	lines := make([]string, 0, len(params))
	for name, values := range params {
		if name == "h" || name == "_url" || name == "file" || len(values) == 0 {
			continue
		}
		lines = append(lines, name+"="+values[len(values)-1])
	}
	slices.Sort(lines)
	inner := md5.Sum([]byte(strings.Join(lines, "&")))
	outer := md5.Sum([]byte(hex.EncodeToString(inner[:]) + last(params, "ckey")))
	return hex.EncodeToString(outer[:])
}

// VerifyParams reports whether the parameter h is the signature of the others.
// Like the md5 of a frame it proves nothing about who made the request.
func VerifyParams(params url.Values) bool {
	return subtle.ConstantTimeCompare([]byte(SignParams(params)), []byte(last(params, "h"))) == 1
}

// last returns the last value of a parameter, "" if there is none.
func last(params url.Values, name string) string {
	values := params[name]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
