package protocol

import "bytes"

// notifyPtp is the notify_type of a frame for one user alone.
const notifyPtp = "ptp"

// Addressee returns the user that a frame to a room is for, 0 for everybody. A
// gift's notify_type and receiver_id stand in the frame or, in later versions,
// in its gift. The error has CodeBadRequest: the frame is for one user and does
// not say for whom.
func Addressee(frame Object) (UserID, error) {
	if !maySay(frame.Raw(), notifyPtp) {
		return 0, nil
	}
	gift, _ := frame.Field("gift").Object()
	field := func(name string) Value {
		if v := frame.Field(name); v != nil {
			return v
		}
		return gift.Field(name)
	}
	if notify, ok := field("notify_type").Bytes(); !ok || string(notify) != notifyPtp {
		return 0, nil
	}
	n, ok := field("receiver_id").Int()
	if !ok || n <= 0 {
		return 0, Errorf(CodeBadRequest, "receiver_id: must be a positive number where notify_type is %s", notifyPtp)
	}
	return UserID(n), nil
}

// maySay reports whether a string of plain letters can occur in checked JSON. It
// spares nearly every frame the search for fields that it does not have.
func maySay(raw []byte, letters string) bool {
	return bytes.Contains(raw, []byte(letters)) || bytes.Contains(raw, []byte(`\u`))
}
