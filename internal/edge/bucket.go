package edge

import "time"

// bucket limits how often something may happen: it is the time, by the edge's
// clock, until which what has happened is paid for. The zero bucket is full.
type bucket time.Duration

// take pays for one more at a price, if that stays within depth of now.
func (b *bucket) take(now, price, depth time.Duration) bool {
	paid := max(time.Duration(*b), now) + price
	if paid-now > depth {
		return false
	}
	*b = bucket(paid)
	return true
}
