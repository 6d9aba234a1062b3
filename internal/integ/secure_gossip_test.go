package integ

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gossipKey is a key of 32 bytes, by its number.
func gossipKey(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "gossip key %03d of the tests, 32 B", n)[:32])
}

// The key of gossip is replaced in three steps of a file on each node, without a
// restart: no node is suspected meanwhile, no client notices, and in the end the
// old key lets nobody in.
func TestGossipKeyIsReplacedWithoutARestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys")
	write := func(keys ...string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	old, fresh := gossipKey(1), gossipKey(2)
	write(old)
	c := startCluster(t, clusterOptions{flags: []string{"--gossip-key", file}})
	room := newRoom()
	var phones []*phone
	for i := 1; i <= 3; i++ {
		p := c.phone(newUser(), i, phoneOptions{})
		c.enter(i, room, p.user, nil)
		phones = append(phones, p)
	}
	c.reachable(1, room, phones...)

	steps := [][]string{{old, fresh}, {fresh, old}, {"not a key"}, {fresh}}
	taken := 0
	for _, keys := range steps {
		write(keys...)
		word := "msg=\"gossip keys taken anew\""
		if keys[0] == "not a key" {
			word = "msg=\"changed gossip keys not taken"
		} else {
			taken++
		}
		for i := 1; i <= 3; i++ {
			eventually(t, 10*time.Second, func() error {
				want := taken
				if keys[0] == "not a key" {
					want = 1
				}
				if n := strings.Count(c.node(i).output(), word); n != want {
					return fmt.Errorf("node %d said %q %d times, want %d", i, word, n, want)
				}
				return nil
			})
		}
	}
	// A suspicion takes 1.5 s to a verdict.
	throughout(t, 4*time.Second, func() error {
		for i := 1; i <= 3; i++ {
			if out := c.node(i).output(); strings.Contains(out, "member failed") {
				return fmt.Errorf("node %d thinks that another failed", i)
			}
		}
		return nil
	})
	c.settle()
	c.publish(3, room, fields{"action": "probe"})
	eventually(t, 5*time.Second, heardAll(phones, "probe", 1))
	stands(t, phones...)

	outsider := c.launchApart(4, "outsider", "--gossip-key", old)
	eventually(t, 20*time.Second, says(outsider, "nobody answers a join"))
	if err := c.agrees(1, 3); err != nil {
		t.Errorf("with the old key, a fourth node came near: %v", err)
	}
	outsider.kill()
	c.place(5)
	if err := c.nodes.start(5); err != nil {
		t.Fatal(err)
	}
	c.settle()
	c.check()
}

// launchApart starts a node of the same cluster that no test counts in, with
// other flags than the cluster's own.
func (c *cluster) launchApart(i int, name string, flags ...string) *process {
	c.tb.Helper()
	apart := &nodes{name: c.name, opts: clusterOptions{flags: flags}, ports: maps.Clone(c.ports), running: map[int]*process{}}
	apart.place(i)
	return (&cluster{tb: c.tb, nodes: apart}).launch(i, name)
}
