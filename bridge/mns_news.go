package bridge

import (
	"encoding/binary"
	"errors"

	"github.com/faac1247/rollcall/mns/chat"
)

// newsFormat begins a message on a topic's channel. Nodes ignore others.
const newsFormat = 1

// The kinds of news.
const (
	newsPublication byte = 'p'
	newsChanged     byte = 'c'
	newsGone        byte = 'g'
)

var errNews = errors.New("news of a topic in an unknown form")

// encodeNews lays out format and kind, then the fields, each text after its
// length.
func encodeNews(n *chat.News) []byte {
	if n.Gone {
		return []byte{newsFormat, newsGone}
	}
	p := n.Publication
	if p == nil {
		return appendText([]byte{newsFormat, newsChanged}, string(n.Changed))
	}
	b := make([]byte, 0, 32+len(p.ID)+len(p.MD5)+len(p.Tag)+len(p.Body))
	b = append(b, newsFormat, newsPublication, byte(p.Importance))
	b = binary.BigEndian.AppendUint64(b, uint64(p.At.UnixMilli()))
	for _, text := range []string{string(p.ID), p.MD5, string(p.Tag)} {
		b = appendText(b, text)
	}
	return append(b, p.Body...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decodeNews reads what is said on the topic's channel.
func decodeNews(t chat.TopicName, text string) (chat.News, error) {
	if len(text) < 2 || text[0] != newsFormat {
		return chat.News{}, errNews
	}
	kind, rest := text[1], text[2:]
	switch kind {
	case newsGone:
		return chat.News{Topic: t, Gone: true}, nil
	case newsChanged:
		name, _, ok := cutText(rest)
		if !ok {
			return chat.News{}, errNews
		}
		return chat.News{Topic: t, Changed: chat.SubscriptionName(name)}, nil
	case newsPublication:
		return decodePublication(t, rest)
	default:
		return chat.News{}, errNews
	}
}

func decodePublication(t chat.TopicName, text string) (chat.News, error) {
	if len(text) < 9 {
		return chat.News{}, errNews
	}
	p := &chat.Publication{Topic: t, Importance: chat.Importance(text[0])}
	if p.Importance < 1 || p.Importance > chat.MaxImportance {
		return chat.News{}, errNews
	}
	p.At = fromMillis(int64(binary.BigEndian.Uint64([]byte(text[1:9]))))
	text = text[9:]
	var fields [3]string
	for i := range fields {
		var ok bool
		if fields[i], text, ok = cutText(text); !ok {
			return chat.News{}, errNews
		}
	}
	p.ID, p.MD5, p.Tag, p.Body = chat.MessageID(fields[0]), fields[1], chat.Tag(fields[2]), text
	return chat.News{Topic: t, Publication: p}, nil
}

// cutText takes a text off the front that appendText put there.
func cutText(b string) (text, rest string, ok bool) {
	n, length := binary.Uvarint([]byte(b[:min(len(b), binary.MaxVarintLen64)]))
	if length <= 0 || n > uint64(len(b)-length) {
		return "", "", false
	}
	return b[length : length+int(n)], b[length+int(n):], true
}
