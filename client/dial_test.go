package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Who lost a machine asks another one, and says which to avoid.
func TestSilentMachineIsDistrusted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		gone string
		next int
	}{
		{"ws://10.0.0.1:8001/ws", 1},
		{"ws://10.0.0.2:8001/ws", 0}, // end_point is asked of a machine that lives
	} {
		client, err := New(Config{EndPoints: []string{"http://10.0.0.1:8001", "http://10.0.0.2:8001"}, SID: testSID})
		if err != nil {
			t.Fatal(err)
		}
		client.first = 0
		client.distrust(c.gone)
		if client.first != c.next {
			t.Errorf("after %s: end_point number %d is asked, want %d", c.gone, client.first, c.next)
		}
		if got := client.avoid.recent(time.Now()); !slices.Equal(got, []string{c.gone}) {
			t.Errorf("after %s: avoids %q", c.gone, got)
		}
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errSilent, true},
		{fmt.Errorf("read: %w", os.NewSyscallError("read", syscall.ETIMEDOUT)), true},
		{fmt.Errorf("write: %w", os.ErrDeadlineExceeded), true},
		{os.NewSyscallError("read", syscall.ECONNRESET), false},
		{io.EOF, false},
		{&CloseError{Code: 1012}, false},
		{errors.New("other"), false},
	} {
		if got := silence(c.err); got != c.want {
			t.Errorf("%v: %t, want %t", c.err, got, c.want)
		}
	}
}
