package integ

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// Scenario 10: the journal has entries of a kind that only the next version
// knows. All nodes are rolled, as in an upgrade, and rolled back the hard way,
// while rooms change: nobody is expelled, and the entries are as they were.
func TestScenario10ForeignEntries(t *testing.T) {
	t.Parallel()
	alone(t)
	redis, err := startRedis(filepath.Join(lab.dir, newRoom()))
	if err != nil {
		t.Fatal(err)
	}
	c := startCluster(t, clusterOptions{redis: redis})
	all := c.gather(18, 3, func(n int, _ string) int { return n%3 + 1 })
	// The next version writes one beside each occupant's entry.
	written := foreign(t, redis, `redis.call('HSET',k,f,string.char(255,2)) n=n+1`)
	if written != all.size {
		t.Fatalf("%d entries written, want %d", written, all.size)
	}
	changes := 0
	for _, end := range []func(int){c.drain, func(i int) { c.kill9(i) }} {
		for i := 1; i <= 3; i++ {
			end(i)
			all.bringBack(all.cutOff())
			c.start(i)
			c.settle()
			changes++
			all.each(func(room string, n int, p *phone) { // each one's entry is journaled anew
				role := "audience"
				if n == 0 {
					role = "host"
				}
				c.enter(i, room, p.user, fields{"nickname": fmt.Sprintf("%d-%d", changes, p.user), "role": role})
			})
		}
	}
	throughout(t, 14*time.Second, func() error { // until the last one's grace is over
		if heard := all.departures(); len(heard) > 0 {
			return fmt.Errorf("%d departures heard", len(heard))
		}
		return nil
	})
	eventually(t, 5*time.Second, func() error { return all.exact(nil) })
	if left := foreign(t, redis, `if redis.call('HGET',k,f)==string.char(255,2) then n=n+1 end`); left != written {
		t.Errorf("%d of %d foreign entries are as they were", left, written)
	}
	c.check()
}

// foreign runs some Lua for each occupant's entry in a journal, where k is the
// journal's key and f the name of the foreign entry beside it. It returns what
// that has made of n.
func foreign(t *testing.T, redis, do string) (n int) {
	t.Helper()
	script := `"local n=0 for _,k in ipairs(redis.call('KEYS','*:j')) do for _,e in ipairs(redis.call('HKEYS',k)) do ` +
		`local f,hits=string.gsub(e,':o:',':zz:') if hits==1 then ` + do + ` end end end return n"`
	if _, err := fmt.Sscanf(redisSays(t, redis, "EVAL", script, "0"), ":%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}
