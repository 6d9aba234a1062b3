package memory

import (
	"sync"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// Store is what all nodes share.
type Store struct {
	mu sync.Mutex
	// guarded by mu
	queues  map[chat.QueueName]*queue
	topics  map[chat.TopicName]*topic
	bucket  string
	nodes   map[string]*Node
	epochs  int
	limit   int
	failure error
}

// Node is one node's way to a Store. It is safe for concurrent use.
type Node struct {
	// set by Store.Node
	store *Store
	name  string
	wake  chan struct{} // there is something to hear

	// guarded by store.mu
	listening bool
	deaf      bool
	words     []func(chat.Listener)
	missed    bool
	follows   map[chat.TopicName]bool
}

const (
	// maxWords bounds what a node has not heard yet; over it, it has missed
	// something and is told so.
	maxWords = 4096
	// maxMessages bounds a queue.
	maxMessages = 1_000_000
)

// New returns an empty Store.
func New() *Store {
	return &Store{
		queues: map[chat.QueueName]*queue{}, topics: map[chat.TopicName]*topic{},
		nodes: map[string]*Node{}, limit: maxMessages,
	}
}

// Node returns the store as the node of that name sees it.
func (s *Store) Node(name string) *Node {
	n := &Node{store: s, name: name, wake: make(chan struct{}, 1), follows: map[chat.TopicName]bool{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[name] = n
	return n
}

// Fail has every call return err from now on, as if the server were away; nil
// brings it back.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Deafen drops what the nodes have not heard yet, and has them told that they
// missed something.
func (s *Store) Deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		n.words, n.missed = nil, true
		n.signal()
	}
}

// enter locks the store for one call.
func (n *Node) enter() (s *Store, leave func(), err error) {
	n.store.mu.Lock()
	if err := n.store.failure; err != nil {
		n.store.mu.Unlock()
		return nil, nil, err
	}
	return n.store, n.store.mu.Unlock, nil
}

// millis is the store's clock: what it keeps is exact to the millisecond.
func millis() int64 { return time.Now().UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
