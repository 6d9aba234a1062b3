package protocol

import (
	"net/url"
	"strings"
	"testing"
)

func TestSignParams(t *testing.T) {
	t.Parallel()
	params, err := url.ParseQuery("ts=1517644790&sid=42stest&pf=ios&dno=x&code=yuewan&ckey=ck")
	if err != nil {
		t.Fatal(err)
	}
	const want = "42afb87f1a33d8caa53d5d411d2db146"
	if got := SignParams(params); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	params.Set("_url", "/api/websocket/end_point")
	params.Set("file", "f")
	params["sid"] = []string{"1sother", "42stest"}
	params["ckey"] = []string{"other", "ck"}
	for h, ok := range map[string]bool{want: true, "": false, "x": false, strings.ToUpper(want): false} {
		params.Set("h", h)
		if VerifyParams(params) != ok {
			t.Errorf("h=%s: accepted is %v", h, !ok)
		}
	}
	params["h"] = []string{"x", want}
	if !VerifyParams(params) {
		t.Error("the last h does not count")
	}
	params.Set("ts", "1517644791")
	if VerifyParams(params) {
		t.Error("accepted after a change")
	}
	if VerifyParams(nil) {
		t.Error("accepted without parameters")
	}
}

// TestSignParamsSortsLines has names of which one begins the other: the lines
// are sorted, with their equals signs, and not the names.
func TestSignParamsSortsLines(t *testing.T) {
	t.Parallel()
	// md5(md5("a-=1&a=2")), and not of "a=2&a-=1".
	if got, want := SignParams(url.Values{"a": {"2"}, "a-": {"1"}}), "4d323f0386e00fde605937a899b7ea6b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzVerifyParams checks that what is signed verifies, and nothing else that
// the query could be turned into by a change of one value.
func FuzzVerifyParams(f *testing.F) {
	f.Add("ckey=ck&code=yuewan&dno=x&pf=ios&sid=42stest&ts=1517644790&h=42afb87f1a33d8caa53d5d411d2db146")
	f.Add("a=1&a=2&h=&%ff=%00")
	f.Fuzz(func(t *testing.T, query string) {
		params, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		params.Set("h", SignParams(params))
		if !VerifyParams(params) {
			t.Fatalf("%q: own signature refused", query)
		}
		params.Set("one more", "1")
		params.Add("one more", "2")
		if VerifyParams(params) {
			t.Fatalf("%q: accepted with another parameter", query)
		}
	})
}
