package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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

// SetKeys makes keys the ones that the node has, of which the first encrypts.
// It does nothing where one can't be taken.
func (g *Gossip) SetKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("set gossip keys: at least one is needed")
	}
	for i, key := range keys {
		if err := memberlist.ValidateKey(key); err != nil {
			return fmt.Errorf("set gossip key %d of %d bytes: must be 16, 24 or 32", i+1, len(key))
		}
	}
	for _, key := range keys {
		if err := g.AddKey(key); err != nil {
			return err
		}
	}
	if err := g.UseKey(keys[0]); err != nil {
		return err
	}
	for _, key := range g.keyring.GetKeys() {
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			continue
		}
		if err := g.RemoveKey(key); err != nil {
			return err
		}
	}
	return nil
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
