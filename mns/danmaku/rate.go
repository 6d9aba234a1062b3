package danmaku

import (
	"container/list"
	"time"
)

// rates counts the lines of users. It belongs to the loop.
type rates struct {
	// set by newRates
	rate  Rate
	limit int

	users map[string]*list.Element
	order *list.List // of *bucket, the latest first
}

// bucket is what a user may still send.
type bucket struct {
	user   string
	tokens float64
	at     time.Time
}

func newRates(r Rate, limit int) *rates {
	return &rates{rate: r, limit: limit, users: map[string]*list.Element{}, order: list.New()}
}

// allow takes one line of a user into account, and reports whether it is within
// the rate. Lines of nobody are.
func (r *rates) allow(user string, now time.Time) bool {
	if r.rate.Lines == 0 || user == "" {
		return true
	}
	full := float64(r.rate.Lines)
	e := r.users[user]
	if e == nil {
		e = r.order.PushFront(&bucket{user: user, tokens: full, at: now})
		r.users[user] = e
		if r.order.Len() > r.limit {
			oldest := r.order.Remove(r.order.Back()).(*bucket)
			delete(r.users, oldest.user)
		}
	} else {
		r.order.MoveToFront(e)
	}
	b := e.Value.(*bucket)
	b.tokens = min(full, b.tokens+full*float64(now.Sub(b.at))/float64(r.rate.Per))
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
