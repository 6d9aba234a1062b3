package danmaku

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
)

// tries is how often a publication or a deletion is tried. What is not settled
// then is left in the queue, and comes back when its visibility timeout is over.
const tries = 6

// settle publishes what may be published, and deletes what is settled.
func (w *Worker) settle(ctx context.Context, groups []*group) {
	held := 0
	for _, g := range groups {
		held += len(g.lines)
	}
	defer func() {
		w.room.Release(int64(held))
		w.metrics.held.Sub(float64(held))
	}()
	w.checkAll(ctx, groups)
	var handles []string
	for _, g := range groups {
		done := g.lines
		if !g.dropped {
			done = w.publish(ctx, g)
		}
		for i := range done {
			handles = append(handles, done[i].handle)
		}
	}
	w.delete(ctx, handles)
}

// checkAll marks the groups that the operator's check refuses.
func (w *Worker) checkAll(ctx context.Context, groups []*group) {
	if w.cfg.Check == "" {
		return
	}
	asked := slices.DeleteFunc(slices.Clone(groups), func(g *group) bool { return g.dropped })
	if len(asked) == 0 {
		return
	}
	drop, err := w.check(ctx, asked)
	if err != nil {
		w.metrics.failed("check")
		w.cfg.Logger.Warn("lines could not be checked", "count", len(asked), "dropped", w.cfg.CheckStrict, "err", err)
	}
	for _, g := range asked {
		if err != nil && w.cfg.CheckStrict || drop[g.lines[0].id] {
			g.dropped = true
			w.metrics.count(refused, len(g.lines))
		}
	}
}

// publish publishes a group and returns the lines that are settled by it. The
// ids go along, so that what an answer that never came, or a worker before this
// one, has published already is not published again.
func (w *Worker) publish(ctx context.Context, g *group) (settled []line) {
	left := g.lines
	importance := g.importance()
	for try := 0; try < tries && ctx.Err() == nil; {
		names := make([]string, len(left))
		for i := range left {
			names[i] = string(left[i].id)
		}
		_, err := w.cfg.Pipeline.Publish(ctx, w.cfg.Topic, mnsclient.Publication{
			Body: counted(left[0].body, w.cfg.CountField, len(left)), Importance: importance, Once: names,
		})
		if err == nil {
			w.metrics.count(published, 1)
			w.metrics.count(merged, len(left)-1)
			w.metrics.seconds.Observe(time.Since(left[0].sent).Seconds())
			return g.lines
		}
		if e, ok := errors.AsType[*mnsclient.BeforeError](err); ok {
			known := len(left)
			left = slices.DeleteFunc(slices.Clone(left), func(l line) bool { return slices.Contains(e.Names, string(l.id)) })
			w.metrics.count(before, known-len(left))
			if len(left) == 0 {
				return g.lines
			}
			if len(left) < known {
				continue
			}
		}
		if errors.Is(err, chat.ErrInvalidArgument) || errors.Is(err, chat.ErrMalformedXML) {
			w.metrics.count(tooLarge, len(left))
			w.cfg.Logger.Warn("line cannot be published", "topic", w.cfg.Topic, "err", err)
			return g.lines
		}
		w.metrics.failed("publish")
		w.cfg.Logger.Warn("line could not be published", "topic", w.cfg.Topic, "try", try+1, "err", err)
		if !rest(ctx, try) {
			break
		}
		try++
	}
	// Those that had been published before are settled all the same.
	return slices.DeleteFunc(slices.Clone(g.lines), func(l line) bool {
		return slices.ContainsFunc(left, func(o line) bool { return o.id == l.id })
	})
}

// delete deletes lines by their handles. A handle that is no good any more means
// that the line comes back; it is then known to be published, or is decided on
// anew.
func (w *Worker) delete(ctx context.Context, handles []string) {
	for len(handles) > 0 {
		n := min(len(handles), chat.MaxBatch)
		batch := handles[:n]
		handles = handles[n:]
		for try := 0; try < tries && ctx.Err() == nil; try++ {
			failed, err := w.cfg.Pipeline.Delete(ctx, w.cfg.Queue, batch)
			if err == nil {
				if len(failed) > 0 {
					w.metrics.failed("late")
				}
				break
			}
			w.metrics.failed("delete")
			w.cfg.Logger.Warn("lines could not be deleted", "queue", w.cfg.Queue, "try", try+1, "err", err)
			if errors.Is(err, chat.ErrQueueNotExist) || !rest(ctx, try) {
				break
			}
		}
	}
}
