package protocol

import "strconv"

// AppendRelayed appends a client's frame as the others in its room get it: in
// the name of sender, whatever the frame said, and without what is between the
// client and its server. All other fields pass byte for byte.
func AppendRelayed(dst []byte, f *ClientFrame, sender UserID) ([]byte, error) {
	start := len(dst)
	gift := f.Action == ActionSendGift
	out, err := appendWithout(append(dst, '{'), f.Raw(), func(name []byte) bool {
		switch string(name) {
		case "online_token", "sid", "sign", "timestamp", "room_id", "epoch", "seq", "user_id":
			return true
		case "sender_id":
			return gift
		}
		return false
	})
	if err != nil {
		return dst[:start], err
	}
	if len(out) > start+1 {
		out = append(out, ',')
	}
	out = append(out, `"user_id":`...)
	out = strconv.AppendInt(out, int64(sender), 10)
	if gift {
		out = append(out, `,"sender_id":`...)
		out = strconv.AppendInt(out, int64(sender), 10)
	}
	return append(out, '}'), nil
}
