package mns

import (
	"fmt"
	"strings"
)

// Right is something that a key may do.
type Right uint8

// The rights. Receive, for a topic, is to subscribe a websocket to it.
const (
	RightSend Right = 1 << iota
	RightReceive
	RightPublish
	RightManage

	rightAll = RightSend | RightReceive | RightPublish | RightManage
)

// Key is an access key. Without grants it may do everything.
type Key struct {
	ID, Secret string
	// Token, for a temporary key, has to come along in the security-token
	// header.
	Token  string
	Grants []Grant
}

// Grant lets a key do something to the queues or the topics whose names begin
// with Prefix.
type Grant struct {
	Rights Right
	Topics bool // topics, otherwise queues
	Prefix string
}

// ParseKey reads a key from its text:
//
//	id:secret                                       may do everything
//	id:secret:send+receive@queues/room-;publish@topics/room-
//
// The rights are send, receive, publish, manage and all.
func ParseKey(text string) (Key, error) {
	id, rest, ok := strings.Cut(text, ":")
	secret, grants, limited := strings.Cut(rest, ":")
	k := Key{ID: id, Secret: secret}
	if !ok {
		return k, fmt.Errorf("mns key: not of the form id:secret")
	}
	if limited {
		for _, part := range strings.Split(grants, ";") {
			g, err := parseGrant(part)
			if err != nil {
				return k, fmt.Errorf("mns key %q: %w", id, err)
			}
			k.Grants = append(k.Grants, g)
		}
	}
	return k, k.validate()
}

func parseGrant(text string) (Grant, error) {
	var g Grant
	rights, on, _ := strings.Cut(text, "@")
	names := map[string]Right{
		"send": RightSend, "receive": RightReceive, "publish": RightPublish, "manage": RightManage, "all": rightAll,
	}
	for _, name := range strings.Split(rights, "+") {
		r, ok := names[name]
		if !ok {
			return g, fmt.Errorf("unknown right %q", name)
		}
		g.Rights |= r
	}
	kind, prefix, _ := strings.Cut(on, "/")
	if kind != "queues" && kind != "topics" {
		return g, fmt.Errorf("grant %q is not on queues/ or topics/", text)
	}
	g.Topics, g.Prefix = kind == "topics", prefix
	return g, nil
}

func (k Key) validate() error {
	switch {
	case k.ID == "" || strings.ContainsAny(k.ID, " \t:,"):
		return fmt.Errorf("mns key %q: the id is empty or holds a space, colon or comma", k.ID)
	case k.Secret == "":
		return fmt.Errorf("mns key %q: the secret is empty", k.ID)
	default:
		return nil
	}
}

// target is what a request is about: a queue, a topic, or neither.
type target struct {
	topics bool
	name   string
}

// may reports whether the key has the right. To list is everybody's who may do
// something to that kind; what is neither queue nor topic takes a key without
// grants.
func (k *Key) may(r Right, t target) bool {
	if len(k.Grants) == 0 {
		return true
	}
	for _, g := range k.Grants {
		if t.name != "" && g.Topics == t.topics && g.Rights&r != 0 && strings.HasPrefix(t.name, g.Prefix) {
			return true
		}
	}
	return false
}

// mayList reports whether the key may list names with a prefix.
func (k *Key) mayList(topics bool, prefix string) bool {
	return k.may(RightManage, target{topics: topics, name: prefix}) || k.manages(topics)
}

// manages reports whether the key manages all queues or all topics.
func (k *Key) manages(topics bool) bool {
	for _, g := range k.Grants {
		if g.Topics == topics && g.Rights&RightManage != 0 && g.Prefix == "" {
			return true
		}
	}
	return len(k.Grants) == 0
}
