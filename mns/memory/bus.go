package memory

import (
	"context"

	"github.com/faac1247/rollcall/mns/chat"
)

// Listen calls l until ctx ends.
func (n *Node) Listen(ctx context.Context, l chat.Listener) error {
	n.store.mu.Lock()
	n.listening = true
	n.store.mu.Unlock()
	l.Renewed()
	for {
		for _, word := range n.take() {
			word(l)
		}
		select {
		case <-ctx.Done():
			n.store.mu.Lock()
			n.listening, n.words = false, nil
			n.store.mu.Unlock()
			return ctx.Err()
		case <-n.wake:
		}
	}
}

func (n *Node) take() []func(chat.Listener) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	words := n.words
	n.words = nil
	if n.missed {
		n.missed = false
		words = append(words, chat.Listener.Renewed)
	}
	return words
}

// Follow has the node hear of the topic.
func (n *Node) Follow(_ context.Context, t chat.TopicName) error {
	s, leave, err := n.enter()
	if err != nil {
		return err
	}
	defer leave()
	_ = s
	n.follows[t] = true
	return nil
}

// Unfollow ends Follow.
func (n *Node) Unfollow(t chat.TopicName) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	delete(n.follows, t)
}

// say leaves a word for the node. The caller holds the store's lock.
func (n *Node) say(word func(chat.Listener)) {
	if !n.listening || n.deaf {
		return
	}
	if len(n.words) >= maxWords {
		n.words, n.missed = nil, true
	} else {
		n.words = append(n.words, word)
	}
	n.signal()
}

func (n *Node) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// tell leaves news for those who follow. The caller holds the store's lock.
func (s *Store) tell(news chat.News) {
	for _, n := range s.nodes {
		if n.follows[news.Topic] {
			n.say(func(l chat.Listener) { l.Heard(news) })
		}
	}
}

// Deaf has the node hear nothing more, in silence, or again.
func (n *Node) Deaf(deaf bool) {
	n.store.mu.Lock()
	defer n.store.mu.Unlock()
	n.deaf = deaf
}
