package bridge

import (
	"errors"
	"strconv"
	"strings"

	"github.com/faac1247/rollcall/mns/chat"
)

// firstSeq is what the numbers of a queue's messages follow: all have as many
// digits, so that they sort as text, and as many as Lua prints of a number.
const firstSeq = 10_000_000_000_000

// errPlace is returned for what is no name of a message.
var errPlace = errors.New("name of a message in an unknown format")

// priorityOf reads the priority that a message's place begins with.
func priorityOf(place uint64) chat.Priority { return chat.Priority(place >> 48) }

// chatLetter begins the places of messages of a priority.
func chatLetter(p chat.Priority) string { return "?abcdefghijklmnop"[p : p+1] }

// appendPlace lays out a place as the scripts have it: a letter for the priority
// and the number in the queue.
func appendPlace(b []byte, place uint64) []byte {
	p := priorityOf(place)
	if p > chat.MaxPriority {
		p = 0
	}
	return strconv.AppendUint(append(b, chatLetter(p)...), place&(1<<48-1), 10)
}

// chatPlace is how the scripts name a message.
func chatPlace(place uint64) string {
	var b [24]byte
	return string(appendPlace(b[:0], place))
}

// parsePlace reads what appendPlace wrote.
func parsePlace(text string) (uint64, error) {
	if text == "" || text[0] < 'a' || text[0] > 'p' {
		return 0, errPlace
	}
	n, err := strconv.ParseUint(text[1:], 10, 48)
	if err != nil {
		return 0, errPlace
	}
	return uint64(text[0]-'a'+1)<<48 | n, nil
}

// chatMember is how d and i name the message that a handle is good for: place
// and end and, if it was received, how often the end was changed and when it was
// received first.
func chatMember(h chat.Handle) string {
	var space [96]byte
	b := strconv.AppendUint(append(appendPlace(space[:0], h.Place), ' '), h.Until/1024, 10)
	if h.Delayed {
		return string(b)
	}
	return string(appendTail(b, h))
}

// cutMember returns the place and the end that a member begins with.
func cutMember(member string) (place, ending string) {
	place, rest, _ := strings.Cut(member, " ")
	ending, _, _ = strings.Cut(rest, " ")
	return place, ending
}

// appendTail appends what follows the end in a member of i.
func appendTail(b []byte, h chat.Handle) []byte {
	b = strconv.AppendUint(append(b, ' '), h.Until%1024, 10)
	return strconv.AppendInt(append(b, ' '), h.First, 10)
}

// parseMember reads what chatMember wrote, less the queue's life, and the number
// that may follow it, or 1.
func parseMember(text string) (h chat.Handle, count int, err error) {
	place, rest, _ := strings.Cut(text, " ")
	if h.Place, err = parsePlace(place); err != nil {
		return h, 0, err
	}
	numbers := [4]uint64{3: 1}
	n := 0
	for ; n < len(numbers) && rest != ""; n++ {
		var text string
		text, rest, _ = strings.Cut(rest, " ")
		if numbers[n], err = strconv.ParseUint(text, 10, 53); err != nil {
			return h, 0, errPlace
		}
	}
	h.Until, h.First, h.Delayed = numbers[0]*1024+numbers[1]%1024, int64(numbers[2]), n == 1
	return h, int(numbers[3]), nil
}
