package node

import "syscall"

const (
	// spareFiles are left to everything that is not a client: the store, gossip,
	// the other doors, logs.
	spareFiles = 512
	// fewFiles is what is left to clients where the limit is very low.
	fewFiles = 64
)

// connsByFiles is how many clients the limit of open files allows. The Go
// runtime has raised the soft limit to the hard one.
func connsByFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0 // not known: no bound of ours
	}
	const most = 1 << 30
	return max(fewFiles, int(min(l.Cur, most))-spareFiles)
}
