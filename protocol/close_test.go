package protocol

import "testing"

func TestCloseCodes(t *testing.T) {
	t.Parallel()
	for code, again := range map[CloseCode]bool{
		CloseDrain: true, CloseOverloaded: true, CloseTimeout: true, CloseSlow: true,
		CloseSuperseded: false, CloseKicked: false, CloseUnauthenticated: false, CloseAbusive: false,
	} {
		if code.Reason() == "" || len(code.Reason()) > 123 {
			t.Errorf("%d has reason %q", code, code.Reason())
		}
		if code.Reconnect() != again {
			t.Errorf("%d: reconnect is %v", code, !again)
		}
	}
	for _, code := range []CloseCode{0, 1000, 1006, 4000} {
		if code.Reason() != "" || !code.Reconnect() {
			t.Errorf("%d is not the server's: reason %q, reconnect %v", code, code.Reason(), code.Reconnect())
		}
	}
}
