package gossip

import (
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// ErrNoKeys means that gossip runs without encryption, which can't be turned
// on or off in a running cluster.
var ErrNoKeys = errors.New("gossip is not encrypted")

// Keys are replaced without a pause in three steps, each done on all nodes
// before the next: AddKey the new one, UseKey it, RemoveKey the old one. The
// keys are this process's only; configure the new one for the next start.

// AddKey lets the node read what is encrypted with a key.
func (g *Gossip) AddKey(key []byte) error {
	return g.withKeys("add", func(ring *memberlist.Keyring) error { return ring.AddKey(key) })
}

// UseKey has the node encrypt with a key that was added.
func (g *Gossip) UseKey(key []byte) error {
	return g.withKeys("use", func(ring *memberlist.Keyring) error { return ring.UseKey(key) })
}

// RemoveKey forgets a key, unless it is the one in use.
func (g *Gossip) RemoveKey(key []byte) error {
	return g.withKeys("remove", func(ring *memberlist.Keyring) error { return ring.RemoveKey(key) })
}

func (g *Gossip) withKeys(what string, change func(*memberlist.Keyring) error) error {
	if g.keyring == nil {
		return ErrNoKeys
	}
	if err := change(g.keyring); err != nil {
		return fmt.Errorf("%s gossip key: %w", what, err)
	}
	return nil
}
