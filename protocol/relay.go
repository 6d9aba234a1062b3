package protocol

import "strconv"

// AppendRelayed appends what the others in a room get of a frame that a client
// sent to be published: in the name of sender, whatever the frame said, and
// without what is between the client and its server. It has no place yet, which
// Number gives it. All other fields pass byte for byte.
//
// A gift that names another giver inside its gift object, where it can't be
// replaced, is refused with CodeForbidden. On error AppendRelayed returns dst
// as it was.
func AppendRelayed(dst []byte, f *ClientFrame, sender UserID) ([]byte, error) {
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
	dst = append(dst, `"user_id":`...)
	dst = strconv.AppendInt(dst, int64(sender), 10)
	if f.Action == ActionSendGift {
		dst = append(dst, `,"sender_id":`...)
		dst = strconv.AppendInt(dst, int64(sender), 10)
	}
	return append(dst, '}'), nil
}

// isPrivate reports the fields of a client's frame that no other client gets as
// they were sent.
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
