package chat

// Listener hears what happens at other nodes, and at its own. Its methods may
// be called from several goroutines and must not block. Words may get lost, but
// never in silence: Renewed follows.
type Listener interface {
	// Woken: a queue that this node watches may have a message, or a new moment
	// at which it will. The watch is over. gone names the life of a queue that
	// was deleted.
	Woken(q QueueName, gone Epoch)
	// Heard: something happened to a topic that this node follows.
	Heard(n News)
	// Renewed: anything said before may have been missed.
	Renewed()
}

// News is what happened to a topic.
type News struct {
	Topic TopicName
	// Publication was published, unless it is nil.
	Publication *Publication
	// Changed is a subscription that was changed or removed.
	Changed SubscriptionName
	// Gone: the topic was deleted.
	Gone bool
}
