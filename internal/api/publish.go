package api

import (
	"context"
	"strconv"

	"github.com/faac1247/rollcall/protocol"
)

// maxBatchItems bounds the publications of one batch.
const maxBatchItems = 1000

// publishAnswer is that of POST publish.
type publishAnswer struct {
	Epoch     protocol.Epoch `json:"epoch"`
	Seq       protocol.Seq   `json:"seq"`
	Delivered int            `json:"delivered"`
	durability
}

func (a *API) publish(ctx context.Context, req *request) (any, error) {
	room, err := req.room()
	if err != nil {
		return nil, err
	}
	key, err := operationKey(req)
	if err != nil {
		return nil, err
	}
	raw, err := req.body()
	if err != nil {
		return nil, err
	}
	subject, err := a.parseFrame(raw)
	if err != nil {
		return nil, err
	}
	reply := a.cfg.Rooms.Do(ctx, protocol.Command{Verb: protocol.VerbPublish, Room: room, Key: key, Subject: subject, Frame: raw})
	if err := replyError(reply); err != nil {
		return nil, err
	}
	return publishAnswer{Epoch: reply.Epoch, Seq: reply.Seq, Delivered: reply.Delivered, durability: durabilityOf(reply)}, nil
}

// parseFrame checks that raw is a frame, and returns the one user that it is
// for, 0 if it is for everybody.
func (a *API) parseFrame(raw []byte) (protocol.UserID, error) {
	object, err := protocol.ParseObject(raw)
	if err != nil {
		return 0, within("frame", err)
	}
	return a.addressee(object)
}

// addressee checks a frame and returns the user that it is for, 0 for everybody.
func (a *API) addressee(frame protocol.Object) (protocol.UserID, error) {
	if n := len(frame.Raw()); n > a.cfg.MaxFrame {
		return 0, protocol.Errorf(protocol.CodeTooLarge, "frame: %d bytes, more than %d", n, a.cfg.MaxFrame)
	}
	if action, ok := frame.Field("action").Bytes(); !ok || len(action) == 0 {
		return 0, protocol.Errorf(protocol.CodeBadRequest, "frame: action: must be a string that is not empty")
	}
	subject, err := protocol.Addressee(frame)
	if err != nil {
		return 0, within("frame", err)
	}
	return subject, nil
}

// item is one publication of a batch on its way, and then its answer.
type item struct {
	room    protocol.RoomID
	subject protocol.UserID
	frame   []byte
	reply   protocol.Reply
	err     error
}

// publishBatch publishes to many rooms at once, to each in the order of the
// batch. What is wrong with one publication is its own answer.
//
// Hot: up to 1,000 publications at once (BenchmarkBatch1000).
func (a *API) publishBatch(ctx context.Context, req *request) (any, error) {
	key, err := operationKey(req)
	if err != nil {
		return nil, err
	}
	raw, err := req.body()
	if err != nil {
		return nil, err
	}
	elements, err := splitArray(raw, maxBatchItems)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(elements))
	for i, element := range elements {
		items[i].err = a.parseItem(&items[i], element)
	}
	rooms := byRoom(items)
	each(len(rooms), a.cfg.BatchWidth, func(i int) {
		for _, n := range rooms[i] {
			it := &items[n]
			it.reply = a.cfg.Rooms.Do(ctx, protocol.Command{
				Verb: protocol.VerbPublish, Room: it.room, Key: key + "." + strconv.Itoa(n), Subject: it.subject, Frame: it.frame,
			})
			it.err = replyError(it.reply)
		}
	})
	return a.batchAnswer(items), nil
}

// parseItem reads one publication of a batch.
func (a *API) parseItem(it *item, raw []byte) error {
	object, err := protocol.ParseObject(raw)
	if err != nil {
		return err
	}
	room, ok := object.Field("room_id").Text()
	if !ok || !protocol.ValidName(room) {
		return protocol.Errorf(protocol.CodeBadRequest, "room_id: must be a string and %s", nameRule)
	}
	frame, ok := object.Field("frame").Object()
	if !ok {
		return protocol.Errorf(protocol.CodeBadRequest, "frame: must be an object")
	}
	it.room, it.frame = protocol.RoomID(room), frame.Raw()
	it.subject, err = a.addressee(frame)
	return err
}

// byRoom returns the numbers of the items that are in order, those of each
// room together.
func byRoom(items []item) [][]int {
	place := make(map[protocol.RoomID]int, len(items))
	rooms := make([][]int, 0, len(items))
	for i := range items {
		if items[i].err != nil {
			continue
		}
		n, ok := place[items[i].room]
		if !ok {
			n = len(rooms)
			place[items[i].room] = n
			rooms = append(rooms, nil)
		}
		rooms[n] = append(rooms[n], i)
	}
	return rooms
}

// batchAnswer returns one answer for each item, in their order.
func (a *API) batchAnswer(items []item) encoded {
	const typical = len(`{"epoch":1700000000000,"seq":1000000,"delivered":10000},`)
	out := make([]byte, 0, 2+typical*len(items))
	out = append(out, '[')
	for i := range items {
		if i > 0 {
			out = append(out, ',')
		}
		out = a.appendItem(out, &items[i])
	}
	return append(out, ']')
}

func (a *API) appendItem(dst []byte, it *item) []byte {
	a.metrics.item(it.err)
	if it.err != nil {
		_, public := refusal(it.err)
		if public.Code == protocol.CodeInternal {
			a.log.Error("publication failed", "room", it.room, "err", it.err)
		}
		return append(appendError(append(dst, `{"error":`...), public), '}')
	}
	dst = append(dst, `{"epoch":`...)
	dst = strconv.AppendUint(dst, uint64(it.reply.Epoch), 10)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, uint64(it.reply.Seq), 10)
	dst = append(dst, `,"delivered":`...)
	dst = strconv.AppendInt(dst, int64(it.reply.Delivered), 10)
	if it.reply.Volatile {
		dst = append(dst, `,"durable":false`...)
	}
	return append(dst, '}')
}
