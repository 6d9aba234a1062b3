package protocol

import (
	"fmt"
	"strings"
	"testing"
)

// hostileFrames returns frames of the greatest size that cost the most to read.
func hostileFrames() map[string][]byte {
	fill := func(format, unit string) []byte {
		room := MaxClientFrame - len(fmt.Sprintf(format, ""))
		return []byte(fmt.Sprintf(format, strings.Repeat(unit, room/len(unit))))
	}
	const sign = `"sign":"0000000000000000000000000000000000000000000000000000000000000000"`
	escapedNames := `{"action":"ping",` + sign
	for i := range MaxMembers - 2 {
		escapedNames += `,"` + strings.Repeat(`\u0061`, 20) + fmt.Sprintf("%02d", i) + `":0`
	}
	return map[string][]byte{
		"slashes":       fill(`{"action":"ping",`+sign+`,"a":"%s"}`, `/`),
		"escapes":       fill(`{"action":"ping",`+sign+`,"a":"%s"}`, `\n`),
		"surrogates":    fill(`{"action":"ping",`+sign+`,"a":"%s"}`, `\ud83d\ude00`),
		"space":         fill(`{"action":"ping",`+sign+`,"a":[%s1]}`, ` `),
		"array":         fill(`{"action":"ping",`+sign+`,"a":[%s1]}`, `1,`),
		"objects":       fill(`{"action":"ping",`+sign+`,"a":[%s1]}`, `{"":{}},`),
		"non-ASCII":     fill(`{"action":"ping",`+sign+`,"a":"%s"}`, `房`),
		"escaped names": []byte(escapedNames + `}`),
		"escaped sid":   fill(`{"action":"ping",`+sign+`,"sid":"%s"}`, `\u0061`),
	}
}

func TestHostileFramesAreRead(t *testing.T) {
	t.Parallel()
	var v Verifier
	for name, raw := range hostileFrames() {
		f, err := ParseClientFrame(raw)
		if err != nil || len(raw) > MaxClientFrame {
			t.Errorf("%s, %d bytes: %v", name, len(raw), err)
			continue
		}
		if v.HMAC(&f, benchKey) {
			t.Errorf("%s: a signature of zeros is accepted", name)
		}
	}
}
