package protocol

import "strconv"

// AppendFromClient appends what a room gets of a frame that a client sent to be
// published: without the fields that are between client and server, without a
// place, which Number gives it, and with the sender as its user_id, or in
// send_gift its sender_id, whatever the client said there. A gift that names
// another giver inside its gift object is refused with CodeForbidden.
//
// On error it returns dst as it was.
func AppendFromClient(dst []byte, f *ClientFrame, sender UserID) ([]byte, error) {
	if err := checkGiver(f.Field("gift"), sender); err != nil {
		return dst, err
	}
	start := len(dst)
	dst, err := appendWithout(append(dst, '{'), f.Raw(), isPrivate)
	if err != nil {
		return dst[:start], err
	}
	if len(dst) > start+1 {
		dst = append(dst, ',')
	}
	if f.Action == ActionSendGift {
		dst = append(dst, `"sender_id":`...)
	} else {
		dst = append(dst, `"user_id":`...)
	}
	return append(strconv.AppendInt(dst, int64(sender), 10), '}'), nil
}

// isPrivate reports the fields of a client's frame that no other client gets
// from it.
func isPrivate(name []byte) bool {
	switch string(name) {
	case "online_token", "sid", "timestamp", "sign", "user_id", "sender_id":
		return true
	}
	return isPlace(name)
}

// checkGiver refuses a gift object that was given by anybody but sender. Later
// clients put the parties of a gift there.
func checkGiver(gift Value, sender UserID) error {
	if _, ok := gift.Object(); !ok {
		return nil
	}
	o, err := ParseObject(gift) // for it must not name two givers
	if err != nil {
		return err
	}
	giver := o.Field("sender_id")
	if giver == nil {
		return nil
	}
	if id, ok := giver.Int(); !ok || UserID(id) != sender {
		return Errorf(CodeForbidden, "a gift of another sender")
	}
	return nil
}
