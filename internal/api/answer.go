package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/faac1247/rollcall/protocol"
)

// durability is the part of an answer that says when a change is not committed
// yet, because the store is away.
type durability struct {
	Durable *bool `json:"durable,omitempty"`
}

func durabilityOf(reply protocol.Reply) durability {
	if !reply.Volatile {
		return durability{}
	}
	return durability{Durable: new(bool)}
}

// placeAnswer says where a change stands among a room's publications.
type placeAnswer struct {
	RoomID protocol.RoomID `json:"room_id"`
	Epoch  protocol.Epoch  `json:"epoch"`
	Seq    protocol.Seq    `json:"seq"`
	durability
}

// done is the answer to a change of which there is nothing to say, unless that
// it is not committed.
func done(reply protocol.Reply) (any, error) {
	if err := replyError(reply); err != nil || !reply.Volatile {
		return nil, err
	}
	return durabilityOf(reply), nil
}

// replyError returns the error of a reply, nil for success. That an owner has
// moved is no business of a caller's.
func replyError(reply protocol.Reply) error {
	switch reply.Code {
	case "":
		return nil
	case protocol.CodeMoved:
		return protocol.Errorf(protocol.CodeUnavailable, "the room is changing its owner; ask again shortly")
	case protocol.CodeInternal:
		return fmt.Errorf("reply: %w", reply.Err())
	default:
		return reply.Err()
	}
}

// encoded is an answer that is JSON already.
type encoded []byte

// write sends a success: 200 with the result as JSON, or 204 for nil.
func write(w http.ResponseWriter, result any) error {
	if result == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, ok := result.(encoded)
	if !ok {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // texts stay as they were given
		if err := e.Encode(result); err != nil {
			return fmt.Errorf("encode answer: %w", err)
		}
		body = b.Bytes()
	}
	send(w, http.StatusOK, body)
	return nil
}

// send writes a JSON answer. A caller that has gone meanwhile misses it; the
// request's context told whoever still worked for it.
func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refuse sends a failure.
func (a *API) refuse(w http.ResponseWriter, call string, err error) {
	status, public := refusal(err)
	if public.Code == protocol.CodeInternal {
		a.log.Error("request failed", "call", call, "err", err)
	}
	if e, ok := errors.AsType[methodError](err); ok {
		w.Header().Set("Allow", strings.Join(e.allowed, ", "))
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="rollcall"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	body := append(appendError([]byte(`{"error":`), public), '}')
	send(w, status, body)
}

// appendError appends what stands behind "error" in an answer.
func appendError(dst []byte, e *protocol.Error) []byte {
	dst = append(dst, `{"code":`...)
	dst = protocol.AppendString(dst, string(e.Code))
	dst = append(dst, `,"message":`...)
	dst = protocol.AppendString(dst, e.Message)
	return append(dst, '}')
}

const internalMessage = "a fault of ours; the node's log has it"

// refusal returns what an error means to the caller: an HTTP status, and a
// code with a message that gives nothing of the inside away.
func refusal(err error) (int, *protocol.Error) {
	switch e := err.(type) {
	case pathError:
		return http.StatusNotFound, protocol.Errorf(protocol.CodeBadRequest, "%v", e)
	case methodError:
		return http.StatusMethodNotAllowed, protocol.Errorf(protocol.CodeBadRequest, "%v", e)
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.Code != protocol.CodeInternal {
		return e.Code.Status(), e
	}
	public := &protocol.Error{Code: protocol.CodeOf(err), Message: internalMessage}
	if public.Code == protocol.CodeUnavailable {
		public.Message = "the store can't be asked now; ask again later"
	}
	return public.Code.Status(), public
}
