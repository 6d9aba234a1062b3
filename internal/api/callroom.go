package api

import (
	"context"
	"errors"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// Roles that the two parties of a call have in its roster.
const (
	// RoleCaller is that of the one who calls.
	RoleCaller = "caller"
	// RoleReceiver is that of the one who is called.
	RoleReceiver = "receiver"
)

// startAnswer is that of PUT calls.
type startAnswer struct {
	CallNo     string          `json:"call_no"`
	CallerID   protocol.UserID `json:"caller_id"`
	ReceiverID protocol.UserID `json:"receiver_id"`
	Epoch      protocol.Epoch  `json:"epoch"`
	EndPoint   string          `json:"end_point"`
	durability
}

func (a *API) startCall(ctx context.Context, req *request) (any, error) {
	callNo, err := req.callNo()
	if err != nil {
		return nil, err
	}
	key, err := givenKey(req)
	if err != nil {
		return nil, err
	}
	f, err := req.fields()
	if err != nil {
		return nil, err
	}
	start := CallRequest{CallNo: callNo, Caller: f.user("caller_id"), Receiver: f.user("receiver_id"), Key: key}
	if start.Caller == start.Receiver {
		f.wrong("receiver_id", "must be another user than caller_id")
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	reply := a.cfg.Places.StartCall(ctx, start)
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return startAnswer{
		CallNo: callNo, CallerID: start.Caller, ReceiverID: start.Receiver, Epoch: reply.Epoch,
		EndPoint: a.cfg.Cluster.EndPoint(protocol.CallRoom(callNo)), durability: durabilityOf(reply),
	}, nil
}

// callAnswer is that of GET calls.
type callAnswer struct {
	CallNo     string          `json:"call_no"`
	Node       protocol.NodeID `json:"node"`
	Epoch      protocol.Epoch  `json:"epoch"`
	CallerID   protocol.UserID `json:"caller_id"`
	ReceiverID protocol.UserID `json:"receiver_id"`
	Parties    []partyLine     `json:"parties"`
	durability
}

// partyLine is one party that is in the call.
type partyLine struct {
	UserID protocol.UserID `json:"user_id"`
	Role   string          `json:"role"`
	Since  time.Time       `json:"since"`
	Online bool            `json:"online"`
}

func (a *API) call(ctx context.Context, req *request) (any, error) {
	callNo, err := req.callNo()
	if err != nil {
		return nil, err
	}
	view, reply, err := a.look(ctx, protocol.Command{Room: protocol.CallRoom(callNo), Limit: rosterPage})
	if err != nil {
		return nil, callError(err, callNo)
	}
	answer := callAnswer{
		CallNo: callNo, Node: view.Node, Epoch: view.Epoch,
		Parties: make([]partyLine, len(view.Occupants)), durability: durabilityOf(reply),
	}
	for i, o := range view.Occupants {
		answer.Parties[i] = partyLine{UserID: o.UserID, Role: o.Role, Since: o.Since, Online: o.Online}
		switch o.Role {
		case RoleCaller:
			answer.CallerID = o.UserID
		case RoleReceiver:
			answer.ReceiverID = o.UserID
		}
	}
	return answer, nil
}

func (a *API) endCall(ctx context.Context, req *request) (any, error) {
	callNo, err := req.callNo()
	if err != nil {
		return nil, err
	}
	key, err := operationKey(req)
	if err != nil {
		return nil, err
	}
	result, err := done(a.cfg.Places.EndCall(ctx, callNo, key))
	return result, callError(err, callNo)
}

// callError speaks of a call where an owner spoke of the room that it is.
func callError(err error, callNo string) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Code == protocol.CodeRoomNotFound {
		return protocol.Errorf(protocol.CodeCallNotFound, "there is no call %q", callNo)
	}
	return err
}
