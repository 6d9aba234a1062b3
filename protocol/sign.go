package protocol

import (
	"crypto/md5" //nolint:gosec // md5 is what deployed clients sign with; it proves nothing and is not relied on.
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"sync"
)

// AppendSigned appends frame with a sign field as its last: HMAC-SHA256 under
// the key that create_token handed out, or, without a key, the md5 of clients
// that know none. A sign that frame has already is left out.
//
// It checks frame as ParseObject does, and on error returns dst as it was.
func AppendSigned(dst, frame []byte, key string) ([]byte, error) {
	o, err := ParseObject(frame)
	if err != nil {
		return dst, err
	}
	work := new(signWork)
	start := len(dst)
	dst, err = appendWithout(append(dst, '{'), frame, func(name []byte) bool { return string(name) == "sign" })
	if err != nil {
		return dst[:start], err
	}
	if len(dst) > start+1 {
		dst = append(dst, ',')
	}
	dst = append(dst, `"sign":"`...)
	if key == "" {
		dst = append(dst, work.md5(o)...)
	} else {
		dst = append(dst, work.hmac(o, key)...)
	}
	return append(dst, `"}`...), nil
}

// Verifier checks the signatures of clients' frames. The zero Verifier is
// ready. It keeps the memory that checking takes, so that checking allocates
// nothing; one is enough for a whole node.
//
// It is safe for concurrent use and must not be copied after its first use.
type Verifier struct {
	// spare holds *signWork, none of them in use.
	spare sync.Pool
}

// HMAC reports whether a frame's sign is the HMAC-SHA256 of its canonical text
// under key. The time it takes does not tell how much of sign is right. An
// empty key verifies nothing.
//
// Hot: once for each frame of a client (BenchmarkHeartbeat/hmac).
func (v *Verifier) HMAC(f *ClientFrame, key string) bool {
	if key == "" || len(f.Sign) != 2*sha256.Size {
		return false
	}
	work := v.work()
	ok := subtle.ConstantTimeCompare(work.hmac(f.Object, key), f.Sign) == 1
	v.spare.Put(work)
	return ok
}

// MD5 reports whether a frame's sign is the md5 of its canonical text. It shows
// that the frame arrived as it was sent, and nothing about who sent it.
//
// Hot: once for each frame of an old client (BenchmarkHeartbeat/md5).
func (v *Verifier) MD5(f *ClientFrame) bool {
	if len(f.Sign) != 2*md5.Size {
		return false
	}
	work := v.work()
	ok := subtle.ConstantTimeCompare(work.md5(f.Object), f.Sign) == 1
	v.spare.Put(work)
	return ok
}

func (v *Verifier) work() *signWork {
	if work, ok := v.spare.Get().(*signWork); ok {
		return work
	}
	return new(signWork)
}

// signWork is the memory that making one signature takes.
type signWork struct {
	space canonicalSpace
	// text is grown once to what the largest frame takes, and kept.
	text []byte
	sum  [2 * sha256.Size]byte
}

// md5 returns the lower hex md5 of an object's canonical text. The result is
// valid until the next call.
func (w *signWork) md5(o Object) []byte {
	w.text = appendCanonical(w.text[:0], o, &w.space)
	sum := md5.Sum(w.text)
	return hex.AppendEncode(w.sum[:0], sum[:])
}

// hmac returns the lower hex HMAC-SHA256 of an object's canonical text, keyed
// with the bytes of key. The result is valid until the next call.
//
// It is spelled out over sha256.Sum256, because crypto/hmac wants an allocated
// state for each key, and every connection has its own.
func (w *signWork) hmac(o Object, key string) []byte {
	var pad [sha256.BlockSize]byte
	if len(key) > len(pad) {
		sum := sha256.Sum256([]byte(key))
		copy(pad[:], sum[:])
	} else {
		copy(pad[:], key)
	}
	for i := range pad {
		pad[i] ^= 0x36
	}
	w.text = appendCanonical(append(w.text[:0], pad[:]...), o, &w.space)
	inner := sha256.Sum256(w.text)
	for i := range pad {
		pad[i] ^= 0x36 ^ 0x5c
	}
	outer := sha256.Sum256(append(append(w.text[:0], pad[:]...), inner[:]...))
	return hex.AppendEncode(w.sum[:0], outer[:])
}
