//go:build !linux

package outbox

import "errors"

// poller is there on Linux alone: elsewhere each reader waits on its goroutine.
type poller struct{}

func newPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) run()                  {}
func (*poller) close()                {}
func (*poller) arm(*Conn, bool) error { return errors.ErrUnsupported }
func (*poller) forget(*Conn)          {}
