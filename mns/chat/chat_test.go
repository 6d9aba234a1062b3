package chat

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHandleRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := Handle{
			Epoch:   Epoch(rapid.StringMatching(`[0-9a-z]{1,16}`).Draw(t, "epoch")),
			Place:   rapid.Uint64Range(1, maxHandleNumber).Draw(t, "place"),
			Until:   rapid.Uint64Range(1, maxHandleNumber).Draw(t, "until"),
			Delayed: rapid.Bool().Draw(t, "delayed"),
		}
		if !h.Delayed {
			h.First = rapid.Int64Range(1, maxHandleNumber).Draw(t, "first")
		}
		got, err := ParseHandle(h.String())
		if err != nil || got != h {
			t.Fatalf("%+v became %q and %+v, %v", h, h, got, err)
		}
	})
}

// FuzzParseHandle: what is read is written the same.
func FuzzParseHandle(f *testing.F) {
	f.Add("1-abc-1-2-3")
	f.Add("2-0-zzzzzzzzzz-zzzzzzzzzz")
	f.Add("8589934593-1435197600-2-6")
	f.Add("1-a-01-2-3")
	f.Add("1-a-1-2-3-4")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHandle(text)
		if err != nil {
			if !errors.Is(err, ErrHandle) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if h.String() != text {
			t.Errorf("%q was read as %q", text, h)
		}
	})
}

func TestParseHandleRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "1", "1-a", "1-a-1", "1-a-1-1", "3-a-1-1-1", "1--1-1-1", "1-A-1-1-1", "1-a-0-1-1", "1-a-1-0-1", "1-a-1-1-0", "1-a-1-1-1-",
		"1-a-+1-1-1", "1-a-1-zzzzzzzzzzzzz-1", "1-aaaaaaaaaaaaaaaaa-1-1-1", "2-a-1-1-1", "2-a-1-0",
	} {
		if h, err := ParseHandle(text); err == nil {
			t.Errorf("%q was read as %+v", text, h)
		}
	}
}

func TestErrorsMatchByCode(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("wrapped: %w", OutOfRange("X", 1, 2, "bytes"))
	if !errors.Is(err, ErrInvalidArgument) || errors.Is(err, ErrMalformedXML) || AsError(err).Message != "The value of X should between 1 and 2 bytes." {
		t.Errorf("%v", AsError(err))
	}
	if AsError(errors.New("other")) != ErrInternal {
		t.Error("an unknown error is not an internal one")
	}
}

func TestQueueChange(t *testing.T) {
	t.Parallel()
	second := time.Second
	s := QueueChange{Delay: &second}.Apply(DefaultQueueSettings())
	want := DefaultQueueSettings()
	want.Delay = second
	if s != want || s.Check() != nil {
		t.Errorf("%+v, %v", s, s.Check())
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]EndpointKind{
		"WEBSOCKET": EndpointWebsocket, "acs:mns:r:a:queues/q": EndpointQueue, "http://h": EndpointHTTP, "https://[::1]:1/x": EndpointHTTP,
		"": 0, "acs:mns:r:a:queues/": 0, "acs:mns:r:a:queues/a:b": 0, "acs:mns:r:a:queues/_deliveries": 0, "http:///x": 0, "HTTP": 0, "http://%zz": 0,
	} {
		if got, _, err := ParseEndpoint(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
