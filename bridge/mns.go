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
//	{mns:q:x}:a …      settings, see loadMNSScripts for the others
//	{mns:t:x}:a …      settings, likewise
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
	scripts map[string]mnsScript
	follows *follows

	// guarded by mu
	mu        sync.Mutex
	names     map[string]*[len(keyParts)]string // a thing's keys, by its tag
	companies map[errand]*company               // at most one for each caller
}

// NewMNS returns the store of the node of that name, on r's connections.
func NewMNS(r *Redis, node string) *MNS {
	return &MNS{
		redis: r, node: node,
		lane:    newLane("chat", chatFlights, r.cfg, r.exec, r.metrics),
		scripts: loadMNSScripts(),
		follows: newFollows(),
		names:   map[string]*[len(keyParts)]string{}, companies: map[errand]*company{},
	}
}

// mnsScript is a script and the keys that it works on.
type mnsScript struct {
	*script
	parts string
}

// loadMNSScripts joins each script with the libraries that it uses and with the
// names of its keys.
//
// Of a queue these are a, its settings; and of each message, by its place: m its
// record, begun by when it was sent; s, once it came back from a receiver, how
// often and when first it was received. A message is in one
// of r (can be received, all scores 0: places sort as they are to be received),
// d (not due yet), i (with a receiver), z (to be moved to the dead-letter queue).
// d and i name a message as its handle does, see chatPlace, so that what only an
// old handle names is not there; their scores are when it is visible again or,
// if that is sooner, expires. In r the oldest of a priority comes first. Times are milliseconds since 1970.
//
// a also has what saves looking: soon, before which nothing is due and
// nothing expires; oldest, before which no message in r was sent; again, when s may hold
// something; full, dying and watch, likewise. Without soon everything is looked
// at.
//
// Of a topic a is its settings; s its subscriptions, JSON, by name; q those among
// them that must not miss anything; k what was published, by when it may be
// forgotten.
func loadMNSScripts() map[string]mnsScript {
	const clock, move, state, wake = "lib_clock ", "lib_move ", "lib_state ", "lib_wake "
	const all = "amsrdiz"
	scripts := map[string]mnsScript{}
	load := func(name, parts, libraries string) {
		var b strings.Builder
		for i := range parts {
			fmt.Fprintf(&b, "local %c = KEYS[%d]\n", parts[i], i+1)
		}
		for library := range strings.FieldsSeq(libraries) {
			b.WriteString(readMNSScript(library))
		}
		b.WriteString(readMNSScript(name))
		sum := sha1.Sum([]byte(b.String()))
		scripts[name] = mnsScript{&script{source: b.String(), sha: hex.EncodeToString(sum[:])}, parts}
	}
	load("queue_create", "a", clock)
	load("queue_change", "a", clock+wake)
	load("queue_delete", all, wake)
	load("queue_view", all, clock+state+move)
	load("queue_purge", all, "")
	load("send", "amrd", clock+wake)
	load("receive", all, clock+state+move)
	load("peek", all, clock+state+move)
	load("delete", "amsdi", clock)
	load("visibility", "ami", clock+wake)
	load("return", all, clock+state+move+wake)
	load("dead", all, clock+state+move)
	load("bury", all, clock+state+move)
	load("topic_create", "a", clock)
	load("topic_change", "a", clock)
	load("topic_delete", "asqk", "")
	load("subscribe", "asq", "")
	load("subscription", "as", "")
	load("subscription_change", "sq", "")
	load("subscriptions", "as", "")
	load("unsubscribe", "sq", "")
	load("publish", "aqk", clock)
	return scripts
}

func readMNSScript(name string) string {
	text, err := mnsScriptFiles.ReadFile("scripts/mns/" + name + ".lua")
	if err != nil {
		panic(fmt.Sprintf("bridge: script %s is not embedded: %v", name, err))
	}
	return string(text)
}

// queueTag and topicTag name what a thing's keys have in common.
func queueTag(q chat.QueueName) string { return "q:" + string(q) }
func topicTag(t chat.TopicName) string { return "t:" + string(t) }

// keyParts are the last letters of all keys of queues and topics.
const keyParts = "amsrdizqk"

// keys names the keys of a thing.
func (m *MNS) keys(tag, parts string) []string {
	m.mu.Lock()
	all, ok := m.names[tag]
	if !ok {
		if len(m.names) >= maxChatKeys {
			clear(m.names)
		}
		all = new([len(keyParts)]string)
		for i := range keyParts {
			all[i] = m.redis.cfg.Prefix + ":{mns:" + tag + "}:" + keyParts[i:i+1]
		}
		m.names[tag] = all
	}
	m.mu.Unlock()
	out := make([]string, len(parts))
	for i := range parts {
		out[i] = all[strings.IndexByte(keyParts, parts[i])]
	}
	return out
}

// registry names a key of the lists of names.
func (m *MNS) registry(part string) string { return m.redis.cfg.Prefix + ":{mns:names}:" + part }

func (m *MNS) nodeChannel(node string) string { return m.redis.cfg.Prefix + ":mns:node:" + node }

func (m *MNS) topicChannel(t chat.TopicName) string {
	return m.redis.cfg.Prefix + ":mns:topic:" + string(t)
}

// ask runs a script on a thing and returns its answer's command.
func (m *MNS) ask(ctx context.Context, name, tag string, args ...any) (*command, error) {
	c := m.call(name, tag, args...)
	return c, m.lane.do(ctx, c)
}

// call returns the call of a script on a thing.
func (m *MNS) call(name, tag string, args ...any) *command {
	s := m.scripts[name]
	return m.redis.call(s.script, m.keys(tag, s.parts), args...)
}

// list runs a script that answers a list.
func (m *MNS) list(ctx context.Context, name, tag string, args ...any) (*fields, error) {
	c, err := m.ask(ctx, name, tag, args...)
	if err != nil {
		return nil, err
	}
	return c.list()
}

// int runs a script that answers a number.
func (m *MNS) int(ctx context.Context, name, tag string, args ...any) (int64, error) {
	c, err := m.ask(ctx, name, tag, args...)
	if err != nil {
		return 0, err
	}
	return c.int()
}

// text runs a script that answers a string.
func (m *MNS) text(ctx context.Context, name, tag string, args ...any) (string, error) {
	c, err := m.ask(ctx, name, tag, args...)
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
