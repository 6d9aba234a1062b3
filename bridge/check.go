package bridge

import (
	"time"

	"github.com/faac1247/rollcall/protocol"
)

const (
	// maxNumber is the highest epoch, position, version or connection number
	// that the scripts and their JSON carry without rounding.
	maxNumber = 99_999_999_999_999
	// maxKey bounds an idempotency key or a connection's token, of which the
	// store keeps copies.
	maxKey = 256
	// minPrune is the least age at which users are forgotten. Their numbers are
	// drawn from the clock again then, so it has to be beyond any step of it.
	minPrune = time.Minute
	// outboxLimit is how many events a partition's outbox holds; the scripts
	// know it too.
	outboxLimit = 100_000
	// tombstoneLimit is how many deaths are kept; the scripts know it too.
	tombstoneLimit = 1000
	// keyMemory is how many idempotency keys of a user are kept; the scripts
	// know it too.
	keyMemory = 16
)

// The checks below refuse what the store could not keep apart or carry: they
// are the same for every store.

func refuse(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeBadRequest, format, args...)
}

// checkIncarnation refuses names that would run into the fields beside them.
func checkIncarnation(inc protocol.Incarnation) error {
	if inc == "" || len(inc) > maxKey {
		return refuse("incarnation %q is empty or too long", inc)
	}
	for i := range len(inc) {
		if inc[i] <= ' ' || inc[i] == 0x7f {
			return refuse("incarnation %q holds a space or control character", inc)
		}
	}
	return nil
}

func checkNumber(what string, n uint64) error {
	if n > maxNumber {
		return refuse("%s %d is beyond what the store counts to", what, n)
	}
	return nil
}

func checkUser(u protocol.UserID) error {
	if u <= 0 {
		return refuse("user id %d is not positive", u)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func checkRenewal(r protocol.LeaseRenewal) error {
	if r.Length < time.Millisecond {
		return refuse("a lease of %s ends at once", r.Length)
	}
	return checkIncarnation(r.Incarnation)
}

func checkTake(t protocol.Take) error {
	return firstError(checkIncarnation(t.Owner), checkNumber("epoch", uint64(t.Heard)))
}

func checkPlace(owner protocol.Incarnation, e protocol.Epoch, position uint64) error {
	return firstError(checkIncarnation(owner), checkNumber("epoch", uint64(e)), checkNumber("position", position))
}

func checkCommit(c protocol.Commit) error {
	if c.After <= c.Before {
		return refuse("commit of partition %d leads from position %d to %d", c.Partition, c.Before, c.After)
	}
	return checkPlace(c.Owner, c.Epoch, c.After)
}

func checkConnect(c protocol.Connect) error {
	if c.Token == "" || len(c.Token) > maxKey {
		return refuse("connection token is empty or too long")
	}
	return firstError(checkUser(c.User), checkIncarnation(c.Edge))
}

func checkClose(c protocol.Close) error {
	return firstError(checkUser(c.User), checkIncarnation(c.By), checkNumber("connection", uint64(c.Conn)))
}

func checkMove(m protocol.Move) error {
	if len(m.Key) > maxKey {
		return refuse("idempotency key is longer than %d bytes", maxKey)
	}
	return firstError(checkUser(m.User), checkIncarnation(m.By), checkNumber("version", uint64(m.IfVersion)))
}

func checkSettle(s protocol.Settle) error {
	return firstError(checkUser(s.User), checkIncarnation(s.By))
}

func checkRestored(u protocol.UserRecord) error {
	err := firstError(checkUser(u.User), checkNumber("connection", uint64(u.Conn)), checkNumber("version", uint64(u.Version)))
	if err == nil && u.Edge != "" {
		err = checkIncarnation(u.Edge)
	}
	return err
}

func checkPrune(age time.Duration) error {
	if age < minPrune {
		return refuse("users are not forgotten within %s", minPrune)
	}
	return nil
}
