package outbox

import (
	"errors"
	"os"
	"syscall"
)

// writer makes one non-blocking write. Its function is made once, so that a
// write allocates nothing.
type writer struct {
	data []byte
	n    int
	err  error
	call func(fd uintptr) bool
	runs [1]run
}

// uniform returns a burst of frames of one importance, valid until the next.
func (w *writer) uniform(frames []byte, n int, importance Importance) burst {
	w.runs[0] = run{end: len(frames), frames: n, importance: importance}
	return burst{data: frames, runs: w.runs[:]}
}

func newWriter() *writer {
	w := &writer{}
	w.call = func(fd uintptr) bool {
		for w.n < len(w.data) {
			n, err := syscall.Write(int(fd), w.data[w.n:])
			switch {
			case errors.Is(err, syscall.EINTR):
			case errors.Is(err, syscall.EAGAIN):
				return true
			case err != nil:
				w.err = err
				return true
			default:
				w.n += n
				if w.n < len(w.data) {
					return true // a short write: the socket is full
				}
			}
		}
		return true
	}
	return w
}

// write returns how much the socket took. A full socket is no error.
//
// Hot: the one system call for each client of each flush (BenchmarkFlood,
// BenchmarkOneAtATime).
func (w *writer) write(to syscall.RawConn, data []byte) (int, error) {
	w.data, w.n, w.err = data, 0, nil
	err := to.Write(w.call)
	w.data = nil
	return w.n, errors.Join(err, w.err)
}

// isTimeout tells a client that does not read from a broken connection.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
