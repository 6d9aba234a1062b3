package bridge

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/faac1247/rollcall/mns/chat"
)

//go:embed scripts/mns/*.lua
var mnsScriptFiles embed.FS

const (
	// chatFlights is how many pipelines of the chat pipeline are under way at
	// once.
	chatFlights = 2
	// maxChatKeys bounds the names of keys that are kept made up; over it they
	// are made anew.
	maxChatKeys = 16384
	// maxQueueLength bounds the messages of one queue. More are refused.
	maxQueueLength = 1_000_000
	// maxOnce bounds the names of publications that a topic remembers; over it
	// the oldest go.
	maxOnce = 100_000
)

// MNS keeps the queues and topics of the chat pipeline in a Redis. It is one
// node's: the node hears through it what others do. Calls are laid together into
// pipelines, as Redis does it for users.
//
// Keys, under the prefix, for a queue and a topic named x:
//
//	{mns:q:x}:a …      settings, see lib_queue.lua for the others
//	{mns:t:x}:a …      settings, see lib_topic.lua for the others
//	{mns:names}:q, :t  sorted sets: the names of queues and topics
//	{mns:names}:c      hash: the account's setting
//
// Channels are mns:node:NAME, what a node that watches a queue is told, and
// mns:topic:x. They are classic ones, on a Cluster too: the scripts that use
// them may run at any of its nodes.
type MNS struct {
	// set by NewMNS
	redis   *Redis
	node    string
	lane    *lane
	scripts map[string]*script
	follows *follows

	// guarded by mu
	mu    sync.Mutex
	names map[string][]string
}

// NewMNS returns the store of the node of that name, on r's connections.
func NewMNS(r *Redis, node string) *MNS {
	return &MNS{
		redis: r, node: node,
		lane:    newLane("chat", chatFlights, r.cfg, r.exec, r.metrics),
		scripts: loadMNSScripts(),
		follows: newFollows(),
		names:   map[string][]string{},
	}
}

// loadMNSScripts joins each script with the library of what it works on.
func loadMNSScripts() map[string]*script {
	libraries := map[string]string{
		"lib_queue": "queue_create queue_change queue_delete queue_view queue_purge " +
			"send receive peek delete visibility return dead bury",
		"lib_topic": "topic_create topic_change topic_delete subscribe subscription " +
			"subscription_change subscriptions unsubscribe publish",
	}
	scripts := map[string]*script{}
	for library, names := range libraries {
		for _, name := range strings.Fields(names) {
			source := readMNSScript(library) + readMNSScript(name)
			sum := sha1.Sum([]byte(source))
			scripts[name] = &script{source: source, sha: hex.EncodeToString(sum[:])}
		}
	}
	return scripts
}

func readMNSScript(name string) string {
	text, err := mnsScriptFiles.ReadFile("scripts/mns/" + name + ".lua")
	if err != nil {
		panic(fmt.Sprintf("bridge: script %s is not embedded: %v", name, err))
	}
	return string(text)
}

// queueKeys and topicKeys name the keys in the order in which the scripts
// expect them.
func (m *MNS) queueKeys(q chat.QueueName) []string { return m.keysOf("q", string(q), "amsrdixwz") }
func (m *MNS) topicKeys(t chat.TopicName) []string { return m.keysOf("t", string(t), "asqk") }

func (m *MNS) keysOf(kind, name, parts string) []string {
	tag := kind + ":" + name
	m.mu.Lock()
	defer m.mu.Unlock()
	if keys, ok := m.names[tag]; ok {
		return keys
	}
	if len(m.names) >= maxChatKeys {
		clear(m.names)
	}
	keys := make([]string, len(parts))
	for i := range parts {
		keys[i] = m.redis.cfg.Prefix + ":{mns:" + tag + "}:" + parts[i:i+1]
	}
	m.names[tag] = keys
	return keys
}

// registry names a key of the lists of names.
func (m *MNS) registry(part string) string { return m.redis.cfg.Prefix + ":{mns:names}:" + part }

func (m *MNS) nodeChannel(node string) string { return m.redis.cfg.Prefix + ":mns:node:" + node }

func (m *MNS) topicChannel(t chat.TopicName) string {
	return m.redis.cfg.Prefix + ":mns:topic:" + string(t)
}

// ask runs a script and returns its answer's command.
func (m *MNS) ask(ctx context.Context, script string, keys []string, args ...any) (*command, error) {
	c := m.redis.call(m.scripts[script], keys, args...)
	return c, m.lane.do(ctx, c)
}

// list runs a script that answers a list.
func (m *MNS) list(ctx context.Context, script string, keys []string, args ...any) (*fields, error) {
	c, err := m.ask(ctx, script, keys, args...)
	if err != nil {
		return nil, err
	}
	return c.list()
}

// int runs a script that answers a number.
func (m *MNS) int(ctx context.Context, script string, keys []string, args ...any) (int64, error) {
	c, err := m.ask(ctx, script, keys, args...)
	if err != nil {
		return 0, err
	}
	return c.int()
}

// text runs a script that answers a string.
func (m *MNS) text(ctx context.Context, script string, keys []string, args ...any) (string, error) {
	c, err := m.ask(ctx, script, keys, args...)
	if err != nil {
		return "", err
	}
	return c.text()
}

// plain runs one command that is no script.
func (m *MNS) plain(ctx context.Context, name, key string, args ...any) (*command, error) {
	c := &command{name: name, keys: []string{key}, args: args}
	return c, m.lane.do(ctx, c)
}
