package chat

import (
	"crypto/md5"
	"time"
)

// MessageID names a message for ever, in whatever queue it is.
type MessageID string

// Priority orders a queue: 1 is received first, 16 last.
type Priority uint8

// Importance orders what a slow subscriber loses: 16 goes first, up to
// KeptImportance nothing does.
type Importance uint8

// The ranges of both, and what counts where none is given.
const (
	MaxPriority       Priority   = 16
	DefaultPriority   Priority   = 8
	MaxImportance     Importance = 16
	DefaultImportance Importance = 8
	KeptImportance    Importance = 4
)

const (
	// MaxBatch is how many messages one request sends, receives or deletes.
	MaxBatch = 16
	// MaxBatchSize bounds the bodies of one request, in bytes.
	MaxBatchSize = 65536
	// MaxReceive is how many messages a store gives out at once, to several
	// receivers together.
	MaxReceive = 64
)

// Draft is a message on its way into a queue.
type Draft struct {
	ID       MessageID
	Body     string
	MD5      string // upper-case hex
	Priority Priority
	// Delay replaces the queue's; nil leaves it.
	Delay *time.Duration
	// Extra is what the sender attached besides, as the XML elements it sent.
	Extra string
}

// Sent is what became of a Draft.
type Sent struct {
	// Handle deletes a delayed message before it is due. It is zero for others.
	Handle Handle
	// Err refuses this draft alone.
	Err *Error
}

// Message is a message that was received or looked at.
type Message struct {
	ID           MessageID
	Body         string
	MD5          string
	Priority     Priority
	Extra        string
	Enqueued     time.Time
	FirstDequeue time.Time // Enqueued, where it was never received
	DequeueCount int
	// NextVisible and Handle are zero for a message that was only looked at.
	NextVisible time.Time
	Handle      Handle
}

// Receive asks for messages of a queue.
type Receive struct {
	Queue QueueName
	// Max is how many at most, up to MaxReceive.
	Max int
	// Visibility replaces the queue's; 0 leaves it.
	Visibility time.Duration
	// Watch has the node woken once when there may be more. It takes effect in
	// the same instant in which fewer than Max were found.
	Watch bool
	// Epoch, if set, is the queue's: with another one there is no such queue.
	Epoch Epoch
}

// Received answers Receive.
type Received struct {
	Messages []Message
	Epoch    Epoch
	// PollingWait is the queue's.
	PollingWait time.Duration
	// Due is when the next message becomes visible by itself or expires before
	// that, negative if none will. It is only told when none was found, or fewer
	// than Max with Watch.
	Due time.Duration
	// Dead is how many messages wait to be moved to the dead-letter queue
	// DeadQueue.
	Dead      int
	DeadQueue QueueName
}

// DeadMessage is a message on its way to the dead-letter queue.
type DeadMessage struct {
	Draft Draft
	// Place is how the store names it.
	Place uint64
}

const hexDigits = "0123456789ABCDEF"

// Digest returns the digest of a body as messages carry it.
func Digest(body string) string {
	sum := md5.Sum([]byte(body))
	var text [2 * md5.Size]byte
	for i, b := range sum {
		text[2*i], text[2*i+1] = hexDigits[b>>4], hexDigits[b&15]
	}
	return string(text[:])
}
