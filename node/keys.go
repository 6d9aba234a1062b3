package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/faac1247/rollcall/gossip"
)

// keysCheck is how often gossip's keys are looked at.
const keysCheck = time.Second

// keyring is gossip's keys, which may change while the node runs. What can't be
// read or taken leaves the former ones in use.
type keyring struct {
	// set by newKeyring
	reload func() ([][]byte, error) // nil where they can't change
	log    *slog.Logger

	// owned by the life that runs
	current [][]byte
	fault   string // the last one said
}

func newKeyring(cfg Gossip, log *slog.Logger) *keyring {
	return &keyring{reload: cfg.Reload, log: log, current: cfg.Keys}
}

// now returns the keys that a life begins with.
func (k *keyring) now() [][]byte {
	k.look(func([][]byte) error { return nil })
	return k.current
}

// follow gives gossip the keys as they change, until ctx ends.
func (k *keyring) follow(ctx context.Context, g *gossip.Gossip) error {
	for k.reload != nil && pause(ctx, keysCheck) {
		k.look(g.SetKeys)
	}
	return nil
}

// look reads the keys and has them taken if they are others.
func (k *keyring) look(take func([][]byte) error) {
	if k.reload == nil {
		return
	}
	keys, err := k.reload()
	if err == nil && slices.EqualFunc(keys, k.current, bytes.Equal) {
		k.fault = ""
		return
	}
	if err == nil {
		err = validKeys(keys)
	}
	if err == nil {
		err = take(keys)
	}
	if err != nil {
		if k.fault != err.Error() {
			k.log.Error("changed gossip keys not taken; the former ones stay in use", "err", err)
		}
		k.fault = err.Error()
		return
	}
	k.current, k.fault = keys, ""
	k.log.Info("gossip keys taken anew", "keys", len(keys))
}

// validKeys says what is wrong with the lengths of keys.
func validKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("gossip-key: there is none left")
	}
	for i, key := range keys {
		if n := len(key); n != 16 && n != 24 && n != 32 {
			return fmt.Errorf("gossip-key %d has %d bytes: use 16, 24 or 32, in base64", i+1, n)
		}
	}
	return nil
}
