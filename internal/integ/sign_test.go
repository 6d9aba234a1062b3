package integ

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // what deployed clients sign with
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"
)

// signing is how a phone signs its frames.
type signing int

const (
	byHMAC signing = iota
	byMD5
	byNothing
)

// sign returns a frame with its signature, made as the protocol's page says and
// without the server's code. The values of the top level are written by
// encoding/json, so texts with U+2028 or below U+0020 don't do here.
func sign(frame fields, how signing, key string) []byte {
	frame = maps.Clone(frame)
	delete(frame, "sign")
	text := encode(frame)
	if how != byNothing {
		frame["sign"] = signature(how, key, strings.ReplaceAll(string(text), "/", `\/`))
	}
	return encode(frame)
}

func signature(how signing, key, text string) string {
	if how == byMD5 {
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// encode writes an object with its fields sorted.
func encode(frame fields) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(frame); err != nil {
		panic(fmt.Sprintf("a frame of a test can't be encoded: %v", err))
	}
	return bytes.TrimSpace(b.Bytes())
}

// jwtKey is the secret that the strict cluster takes.
const jwtKey = "a secret of the tests that is long enough for HS256"

// claims of a token.
type claims struct {
	Subject string   `json:"sub,omitempty"`
	Expires int64    `json:"exp,omitempty"`
	May     []string `json:"may,omitempty"`
}

// jwtOf returns a token that holds for an hour.
func jwtOf(user int, may ...string) string {
	return token("HS256", jwtKey, claims{Subject: fmt.Sprint(user), Expires: time.Now().Add(time.Hour).Unix(), May: may})
}

// token makes a JSON web token by hand, so that it can be wrong.
func token(algorithm, key string, c claims) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." + part(c)
	if algorithm == "none" {
		return text + "."
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// The phones sign as the protocol's vectors do.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	ping := func() fields {
		return fields{"action": "ping", "online_token": "7f0123456789abcdef0123456789abcdef", "sid": "42stest", "timestamp": 1517644790}
	}
	text := ping()
	text["timestamp"] = "1517644790"
	report := ping()
	report["action"], report["user_id"] = "exit_room_report", 1233
	for _, v := range []struct {
		frame fields
		how   signing
		want  string
	}{
		{ping(), byHMAC, "fda31b3b724985de25c15345756945e900957cf97f117d056e5189f0025b094f"},
		{ping(), byMD5, "7a5e5df2f36b0bb937d0d14c4c4d77f6"},
		{text, byMD5, "d134ee1a19b1852bc2fea089c9c1a14c"},
		{report, byMD5, "171efda05b58ba32b3aca585bd20a805"},
		{fields{"action": "ping", "note": "房间/a", "sid": "42stest"}, byMD5, "37acf902a420739d686b73d8422e79d4"},
	} {
		var got struct{ Sign string }
		if err := json.Unmarshal(sign(v.frame, v.how, "k"), &got); err != nil || got.Sign != v.want {
			t.Errorf("%v: %s (%v), want %s", v.frame, got.Sign, err, v.want)
		}
	}
}
