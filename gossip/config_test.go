package gossip_test

import (
	"strings"
	"testing"

	"github.com/faac1247/rollcall/gossip"
	"github.com/faac1247/rollcall/protocol"
)

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	for name, c := range map[string]struct {
		change func(*gossip.Config)
		want   string
	}{
		"no node id":      {func(c *gossip.Config) { c.Node = "" }, "node id"},
		"bad node id":     {func(c *gossip.Config) { c.Node = "a b" }, "node id"},
		"no boot":         {func(c *gossip.Config) { c.Meta.Boot = "" }, "boot id"},
		"no shape":        {func(c *gossip.Config) { c.Meta.Shape = protocol.ClusterShape{} }, "no cluster shape"},
		"long meta":       {func(c *gossip.Config) { c.Meta.API = strings.Repeat("x", 600) }, "longer than 512"},
		"long label":      {func(c *gossip.Config) { c.Label = strings.Repeat("x", 256) }, "label"},
		"short key":       {func(c *gossip.Config) { c.Keys = [][]byte{key, key[:5]} }, "key 2 of 5 bytes"},
		"seed, no port":   {func(c *gossip.Config) { c.Join = []string{"10.0.0.1"} }, "seed"},
		"seed, port 0":    {func(c *gossip.Config) { c.Join = []string{"10.0.0.1:0"} }, "seed"},
		"seed, no host":   {func(c *gossip.Config) { c.Join = []string{":7946"} }, "seed"},
		"negative time":   {func(c *gossip.Config) { c.RejoinInterval = -1 }, "negative"},
		"bind to a name":  {func(c *gossip.Config) { c.Bind = "localhost:7946" }, "bind address"},
		"bind, no port":   {func(c *gossip.Config) { c.Bind = "127.0.0.1" }, "bind address"},
		"advertise port":  {func(c *gossip.Config) { c.Advertise = "10.0.0.1:x" }, "advertise address"},
		"advertise zero":  {func(c *gossip.Config) { c.Advertise = "10.0.0.1:0" }, "advertise address"},
		"open to all":     {func(c *gossip.Config) { c.Bind = ":7946" }, "needs a key"},
		"open to a net":   {func(c *gossip.Config) { c.Bind = "10.0.0.1:7946" }, "needs a key"},
		"v6, no address":  {func(c *gossip.Config) { c.Bind, c.Keys = "[::]:7946", [][]byte{key} }, "needs an advertise"},
		"several at once": {func(c *gossip.Config) { c.Node, c.Bind = "", "x" }, "node id"},
	} {
		cfg := config(1, "b1")
		c.change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := gossip.New(cfg); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
	both := config(1, "b1")
	both.Node, both.Bind = "", "x"
	if err := both.Validate(); err == nil || !strings.Contains(err.Error(), "bind address") || !strings.Contains(err.Error(), "node id") {
		t.Errorf("two faults: %v", err)
	}
}

func TestConfigsThatWork(t *testing.T) {
	t.Parallel()
	key := [][]byte{make([]byte, 16)}
	for name, change := range map[string]func(*gossip.Config){
		"least":           func(*gossip.Config) {},
		"with a key":      func(c *gossip.Config) { c.Bind, c.Keys = ":7946", key },
		"insecure":        func(c *gossip.Config) { c.Bind, c.Insecure = "0.0.0.0:7946", true },
		"v6 loopback":     func(c *gossip.Config) { c.Bind = "[::1]:0" },
		"v6 advertised":   func(c *gossip.Config) { c.Bind, c.Keys, c.Advertise = "[::]:7946", key, "fd00::1" },
		"advertised":      func(c *gossip.Config) { c.Advertise = "10.0.0.1" },
		"advertised port": func(c *gossip.Config) { c.Advertise = "[fd00::1]:7000" },
		"advertised name": func(c *gossip.Config) { c.Advertise = "n1.example.com" },
		"and port":        func(c *gossip.Config) { c.Advertise = "n1.example.com:7000" },
		"seeds":           func(c *gossip.Config) { c.Join = []string{"a.example.com:1", "10.0.0.1:2", "[fd00::1]:3"} },
		"own network":     func(c *gossip.Config) { c.Transport, c.Bind = fakeTransport{}, "unused" },
	} {
		cfg := config(1, "b1")
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
