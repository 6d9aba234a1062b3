package sign

import (
	"errors"
	"strings"
)

// ErrHeader is returned for an Authorization header of no known form.
var ErrHeader = errors.New("sign: unknown form of authorization")

// Authorization is a parsed Authorization header.
type Authorization struct {
	KeyID, Signature string
	// V4 is set for version 4, with the scope of the key.
	V4    *Flavor
	Scope Scope
}

// maxHeader bounds an Authorization header.
const maxHeader = 1024

// ParseAuthorization reads an Authorization header.
func ParseAuthorization(header string) (Authorization, error) {
	if len(header) > maxHeader {
		return Authorization{}, ErrHeader
	}
	scheme, rest, ok := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !ok:
		return Authorization{}, ErrHeader
	case scheme == "MNS":
		id, signature, ok := strings.Cut(rest, ":")
		if !ok || id == "" || signature == "" || strings.ContainsAny(rest, " \t") {
			return Authorization{}, ErrHeader
		}
		return Authorization{KeyID: id, Signature: signature}, nil
	case scheme == Public.Algorithm:
		return parseV4(&Public, rest)
	case scheme == Private.Algorithm:
		return parseV4(&Private, rest)
	default:
		return Authorization{}, ErrHeader
	}
}

func parseV4(f *Flavor, text string) (Authorization, error) {
	a := Authorization{V4: f}
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			// A key's id may hold '/', the rest of the scope may not.
			fields := strings.Split(value, "/")
			n := len(fields)
			if n < 5 || fields[n-1] != f.Terminator || fields[n-2] != service {
				return Authorization{}, ErrHeader
			}
			a.KeyID = strings.Join(fields[:n-4], "/")
			a.Scope = Scope{Day: fields[n-4], Region: fields[n-3]}
		case "Signature":
			a.Signature = value
		}
	}
	if a.KeyID == "" || a.Signature == "" {
		return Authorization{}, ErrHeader
	}
	return a, nil
}

// Header returns the Authorization header of version 2.
func Header(keyID, signature string) string { return "MNS " + keyID + ":" + signature }

// HeaderV4 returns the Authorization header of version 4.
func HeaderV4(f Flavor, keyID string, s Scope, signature string) string {
	return f.Algorithm + " Credential=" + keyID + "/" + s.Day + "/" + s.Region + "/" + service + "/" + f.Terminator +
		",Signature=" + signature
}
