package inbox

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/faac1247/rollcall/protocol"
)

// A payload is a header and any number of items, one after the other:
//
//	header  format flags from to serial callsTaken answersTaken
//	call    tagCall   kind   number gap body
//	answer  tagAnswer status number gap call body
//	cast    tagCast   kind   body
//
// format, flags, tags, kind and status are bytes; from, to and body are a
// length and so many bytes; lengths and numbers are unsigned varints.
const (
	format = 1

	// flagRepeat asks the other side to repeat at once what was not taken.
	flagRepeat = 1

	tagCall   = 1
	tagAnswer = 2
	tagCast   = 3

	statusAnswered = 1
	statusNoAnswer = 2

	// maxName bounds the name of an incarnation.
	maxName = 255
	// maxNumber keeps sums of numbers from wrapping round.
	maxNumber = 1 << 62
	// itemOverhead bounds what an item takes beside its body.
	itemOverhead = 2 + 4*binary.MaxVarintLen64
)

// errFormat is a payload of a format that this node does not read.
var errFormat = errors.New("unknown format")

// errMalformed is a payload that no inbox composed.
var errMalformed = errors.New("malformed payload")

type header struct {
	repeat                   bool
	from, to                 protocol.Incarnation
	serial                   uint64 // of the payload, among those of from to to
	callsTaken, answersTaken uint64 // of the receiver's lanes, by the sender
}

// item is one message on the wire.
type item struct {
	tag byte
	// code is the Kind of a call or cast and the status of an answer.
	code byte
	// number is the item's place in its lane, number-gap that of the one before.
	number, gap uint64
	// call is the number of the call that an answer answers.
	call uint64
	body []byte
}

func appendHeader(b []byte, h header) []byte {
	var flags byte
	if h.repeat {
		flags |= flagRepeat
	}
	b = append(b, format, flags)
	b = binary.AppendUvarint(b, uint64(len(h.from)))
	b = append(b, h.from...)
	b = binary.AppendUvarint(b, uint64(len(h.to)))
	b = append(b, h.to...)
	b = binary.AppendUvarint(b, h.serial)
	b = binary.AppendUvarint(b, h.callsTaken)
	return binary.AppendUvarint(b, h.answersTaken)
}

func appendItem(b []byte, it item) []byte {
	b = append(b, it.tag, it.code)
	if it.tag != tagCast {
		b = binary.AppendUvarint(b, it.number)
		b = binary.AppendUvarint(b, it.gap)
	}
	if it.tag == tagAnswer {
		b = binary.AppendUvarint(b, it.call)
	}
	b = binary.AppendUvarint(b, uint64(len(it.body)))
	return append(b, it.body...)
}

// parseHeader reads a payload's header and returns what follows it.
func parseHeader(b []byte) (header, []byte, error) {
	if len(b) < 2 {
		return header{}, nil, errMalformed
	}
	if b[0] != format {
		return header{}, nil, fmt.Errorf("%w %d", errFormat, b[0])
	}
	if b[1]&^flagRepeat != 0 {
		return header{}, nil, errMalformed
	}
	h := header{repeat: b[1]&flagRepeat != 0}
	p := parser{rest: b[2:]}
	h.from = protocol.Incarnation(p.bytes(maxName))
	h.to = protocol.Incarnation(p.bytes(maxName))
	h.serial = p.number()
	h.callsTaken = p.number()
	h.answersTaken = p.number()
	if p.bad || h.from == "" || h.to == "" {
		return header{}, nil, errMalformed
	}
	return h, p.rest, nil
}

// parseItems appends the items of a payload, of which b is what follows the
// header. Bodies share memory with b. A payload with one bad item is bad as a
// whole: nothing in it is acted on.
func parseItems(items []item, b []byte) ([]item, error) {
	p := parser{rest: b}
	for len(p.rest) > 0 {
		it := item{tag: p.byte(), code: p.byte()}
		switch it.tag {
		case tagCall, tagAnswer:
			it.number = p.number()
			it.gap = p.number()
			p.bad = p.bad || it.gap == 0 || it.gap > it.number
		case tagCast:
		default:
			p.bad = true
		}
		if it.tag == tagAnswer {
			it.call = p.number()
			p.bad = p.bad || it.code != statusAnswered && it.code != statusNoAnswer
		}
		it.body = p.bytes(len(p.rest))
		if p.bad {
			return items, errMalformed
		}
		items = append(items, it)
	}
	return items, nil
}

// parser reads fields off the front of rest. Once bad it stays so, and what it
// returns means nothing.
type parser struct {
	rest []byte
	bad  bool
}

func (p *parser) byte() byte {
	if len(p.rest) == 0 {
		p.bad = true
		return 0
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	return c
}

func (p *parser) number() uint64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 || n > maxNumber {
		p.bad = true
		return 0
	}
	p.rest = p.rest[size:]
	return n
}

func (p *parser) bytes(limit int) []byte {
	n := p.number()
	if p.bad || n > uint64(limit) || n > uint64(len(p.rest)) {
		p.bad = true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}
