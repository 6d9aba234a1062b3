package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/faac1247/rollcall/protocol"
)

// MetaLimit is how many bytes an encoded Meta may have; gossip has no room for
// more.
const MetaLimit = 512

// State is what a node says it is doing.
type State uint8

const (
	// Starting: it does not take partitions yet.
	Starting State = iota
	// Serving: it takes its share.
	Serving
	// Draining: it gives up what it has and takes nothing.
	Draining
	// Leaving: its last word. A member that goes after it has left, one that
	// goes without it has failed.
	Leaving
)

func (s State) String() string {
	switch s {
	case Starting:
		return "starting"
	case Serving:
		return "serving"
	case Draining:
		return "draining"
	case Leaving:
		return "leaving"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// Meta is what a node advertises about itself to all others.
type Meta struct {
	// Boot names this life of the node: one to 64 of A-Z a-z 0-9 _ . -
	Boot string
	// Client, API and MNS are the public addresses of its doors.
	Client, API, MNS string
	// Version is the build, for people.
	Version string
	State   State
	// Digest is that of the ring it computes.
	Digest uint64
	// StoreAway: it does not reach the store.
	StoreAway bool
	// Listening: it has event-stream clients.
	Listening bool
	// Connections is how many clients it holds.
	Connections uint32
	// Format is the highest journal and message format that it reads.
	Format uint8
	// Shape must be the same on all members.
	Shape protocol.ClusterShape
}

// Meta travels as a format byte and then fields, each a tag, a length and that
// many bytes. A field that is zero is left out, one that is unknown is passed
// over; so a field can be added without a new format, and nodes of both builds
// read each other. Tags are never used again.
const (
	metaFormat = 1
	// metaOldest is the former format, once there is one.
	metaOldest = 1
)

const (
	tagBoot byte = iota + 1
	tagClient
	tagAPI
	tagMNS
	tagVersion
	tagState
	tagDigest
	tagFlags
	tagConnections
	tagFormat
	tagPartitions
	tagReplication
	tagLoad
	tagHash
)

const (
	flagStoreAway = 1 << iota
	flagListening
)

var (
	// ErrMetaTooLong means that a Meta does not fit into gossip.
	ErrMetaTooLong = fmt.Errorf("meta is longer than %d bytes", MetaLimit)
	// ErrMetaFormat means that a Meta cannot be read by this build.
	ErrMetaFormat = errors.New("meta has an unknown format")
	// ErrMetaMalformed means that a Meta makes no sense in its format.
	ErrMetaMalformed = errors.New("meta is malformed")
)

// Encode returns the wire form, or an error when it would be too long or names
// no boot.
func (m Meta) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b := []byte{metaFormat}
	b = appendText(b, tagBoot, m.Boot)
	b = appendText(b, tagClient, m.Client)
	b = appendText(b, tagAPI, m.API)
	b = appendText(b, tagMNS, m.MNS)
	b = appendText(b, tagVersion, m.Version)
	b = appendNumber(b, tagState, uint64(m.State))
	b = appendNumber(b, tagDigest, m.Digest)
	b = appendNumber(b, tagFlags, m.flags())
	b = appendNumber(b, tagConnections, uint64(m.Connections))
	b = appendNumber(b, tagFormat, uint64(m.Format))
	b = appendNumber(b, tagPartitions, uint64(m.Shape.Partitions))
	b = appendNumber(b, tagReplication, uint64(m.Shape.Replication))
	b = appendNumber(b, tagLoad, math.Float64bits(m.Shape.Load))
	b = appendText(b, tagHash, m.Shape.Hash)
	if len(b) > MetaLimit {
		return nil, fmt.Errorf("%w: %d", ErrMetaTooLong, len(b))
	}
	return b, nil
}

// DecodeMeta reads a wire form. It keeps nothing of b.
func DecodeMeta(b []byte) (Meta, error) {
	var m Meta
	if len(b) > MetaLimit {
		return m, fmt.Errorf("%w: %d", ErrMetaTooLong, len(b))
	}
	if len(b) == 0 || b[0] < metaOldest || b[0] > metaFormat {
		return m, fmt.Errorf("%w: this build reads %d to %d, got %.1x", ErrMetaFormat, metaOldest, metaFormat, b)
	}
	for b = b[1:]; len(b) > 0; {
		tag := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return Meta{}, fmt.Errorf("%w: field %d is cut off", ErrMetaMalformed, tag)
		}
		value := b[1+n : 1+n+int(size)]
		b = b[1+n+int(size):]
		if err := m.set(tag, value); err != nil {
			return Meta{}, err
		}
	}
	if err := m.check(); err != nil {
		return Meta{}, err
	}
	return m, nil
}

// set assigns the field of a tag. Unknown tags are a later build's.
func (m *Meta) set(tag byte, value []byte) error {
	switch tag {
	case tagBoot:
		m.Boot = string(value)
	case tagClient:
		m.Client = string(value)
	case tagAPI:
		m.API = string(value)
	case tagMNS:
		m.MNS = string(value)
	case tagVersion:
		m.Version = string(value)
	case tagHash:
		m.Shape.Hash = string(value)
	case tagState, tagDigest, tagFlags, tagConnections, tagFormat, tagPartitions, tagReplication, tagLoad:
		number, n := binary.Uvarint(value)
		if n != len(value) || n == 0 {
			return fmt.Errorf("%w: field %d is no number", ErrMetaMalformed, tag)
		}
		return m.setNumber(tag, number)
	}
	return nil
}

func (m *Meta) setNumber(tag byte, number uint64) error {
	limit := uint64(math.MaxUint64)
	switch tag {
	case tagState, tagFormat:
		limit = math.MaxUint8
	case tagConnections, tagPartitions, tagReplication:
		limit = math.MaxUint32
	}
	if number > limit {
		return fmt.Errorf("%w: field %d is %d", ErrMetaMalformed, tag, number)
	}
	switch tag {
	case tagState:
		m.State = State(number)
	case tagDigest:
		m.Digest = number
	case tagFlags:
		m.StoreAway = number&flagStoreAway != 0
		m.Listening = number&flagListening != 0
	case tagConnections:
		m.Connections = uint32(number)
	case tagFormat:
		m.Format = uint8(number)
	case tagPartitions:
		m.Shape.Partitions = int(number)
	case tagReplication:
		m.Shape.Replication = int(number)
	case tagLoad:
		m.Shape.Load = math.Float64frombits(number)
	}
	return nil
}

// check reports what no Meta may be, whoever made it.
func (m Meta) check() error {
	if !protocol.ValidName(m.Boot) {
		return fmt.Errorf("%w: boot id %q", ErrMetaMalformed, m.Boot)
	}
	for _, text := range []string{m.Client, m.API, m.MNS, m.Version, m.Shape.Hash} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %q is no text", ErrMetaMalformed, text)
		}
	}
	if m.Shape.Partitions < 0 || m.Shape.Replication < 0 || math.IsNaN(m.Shape.Load) {
		return fmt.Errorf("%w: shape %+v", ErrMetaMalformed, m.Shape)
	}
	return nil
}

func (m Meta) flags() uint64 {
	var flags uint64
	if m.StoreAway {
		flags |= flagStoreAway
	}
	if m.Listening {
		flags |= flagListening
	}
	return flags
}

func appendText(b []byte, tag byte, text string) []byte {
	if text == "" {
		return b
	}
	b = binary.AppendUvarint(append(b, tag), uint64(len(text)))
	return append(b, text...)
}

func appendNumber(b []byte, tag byte, number uint64) []byte {
	if number == 0 {
		return b
	}
	var value [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(value[:], number)
	b = append(b, tag, byte(n))
	return append(b, value[:n]...)
}
