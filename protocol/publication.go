package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrPublications is wrapped by every error of ParsePublications.
var ErrPublications = errors.New("malformed publications")

// publicationFormat is the first byte of an encoded batch. Another number is
// another layout, which a node that does not know it refuses.
const publicationFormat = 1

// The flags of one publication: what follows them, in this order, before the
// epoch, the seq and the frame that every publication has.
const (
	flagRoom       = 1 << iota // the room; without it, that of the one before
	flagImportance             // Importance is not 0
	flagExcept                 // Except is not 0
	flagOnly                   // Only is not 0
	flagV2                     // V2 is set; nothing follows for it

	flagsKnown = flagRoom | flagImportance | flagExcept | flagOnly | flagV2
)

// AppendPublications appends a batch as it travels between nodes. The name of a
// room that several publications in a row belong to travels once.
//
// Hot: once for each batch to an edge (BenchmarkPublications/append).
func AppendPublications(dst []byte, batch []Publication) []byte {
	dst = append(dst, publicationFormat)
	for i := range batch {
		p := &batch[i]
		flags := flagsOf(p)
		if i == 0 || p.Room != batch[i-1].Room {
			flags |= flagRoom
		}
		dst = append(dst, flags)
		if flags&flagRoom != 0 {
			dst = binary.AppendUvarint(dst, uint64(len(p.Room)))
			dst = append(dst, p.Room...)
		}
		if flags&flagImportance != 0 {
			dst = append(dst, p.Importance)
		}
		if flags&flagExcept != 0 {
			dst = binary.AppendUvarint(dst, uint64(p.Except))
		}
		if flags&flagOnly != 0 {
			dst = binary.AppendUvarint(dst, uint64(p.Only))
		}
		dst = binary.AppendUvarint(dst, uint64(p.Epoch))
		dst = binary.AppendUvarint(dst, uint64(p.Seq))
		dst = binary.AppendUvarint(dst, uint64(len(p.Frame)))
		dst = append(dst, p.Frame...)
	}
	return dst
}

// flagsOf returns the flags that depend on the publication alone.
func flagsOf(p *Publication) byte {
	var flags byte
	if p.Importance != 0 {
		flags |= flagImportance
	}
	if p.Except != 0 {
		flags |= flagExcept
	}
	if p.Only != 0 {
		flags |= flagOnly
	}
	if p.V2 {
		flags |= flagV2
	}
	return flags
}

// ParsePublications appends the publications of an encoded batch to dst. Their
// frames are parts of b: whoever keeps one longer than b copies it. On error it
// returns dst as it was.
//
// Hot: once for each batch from an owner (BenchmarkPublications/parse).
func ParsePublications(dst []Publication, b []byte) ([]Publication, error) {
	if len(b) == 0 {
		return dst, fmt.Errorf("%w: empty", ErrPublications)
	}
	if b[0] != publicationFormat {
		return dst, fmt.Errorf("%w: format %d, not %d", ErrPublications, b[0], publicationFormat)
	}
	r := publicationReader{rest: b[1:]}
	out := dst
	for len(r.rest) > 0 {
		p := r.publication()
		if r.why != "" {
			return dst, fmt.Errorf("%w: %s in number %d", ErrPublications, r.why, len(out)-len(dst))
		}
		out = append(out, p)
	}
	return out, nil
}

// publicationReader takes publications off the front of rest, until why is set.
type publicationReader struct {
	rest  []byte
	room  RoomID // of the publication before
	named bool   // room is set
	why   string
}

func (r *publicationReader) publication() Publication {
	flags := r.byte()
	if flags&^flagsKnown != 0 {
		r.why = "unknown flag"
	}
	if flags&flagRoom != 0 {
		r.named = true
		if room := r.bytes(); string(room) != string(r.room) {
			r.room = RoomID(room)
		}
	} else if !r.named {
		r.why = "no room"
	}
	p := Publication{Room: r.room, V2: flags&flagV2 != 0}
	if flags&flagImportance != 0 {
		p.Importance = r.byte()
	}
	if flags&flagExcept != 0 {
		p.Except = r.user()
	}
	if flags&flagOnly != 0 {
		p.Only = r.user()
	}
	p.Epoch = Epoch(r.uvarint())
	p.Seq = Seq(r.uvarint())
	p.Frame = r.bytes()
	return p
}

func (r *publicationReader) byte() byte {
	if len(r.rest) == 0 {
		r.why = "cut short"
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *publicationReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.why = "cut short"
		r.rest = nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// bytes takes a length and as many bytes, without copying them. What is
// appended to them is never written over what follows.
func (r *publicationReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.why = "cut short"
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *publicationReader) user() UserID {
	n := r.uvarint()
	if n > math.MaxInt64 {
		r.why = "bad user id"
		return 0
	}
	return UserID(n)
}
