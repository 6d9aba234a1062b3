package client

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lxzan/gws"

	"github.com/faac1247/rollcall/protocol"
)

// startHeartbeat sets the first one somewhere within the interval, so that
// clients that came together do not beat together.
func (cn *conn) startHeartbeat() {
	cn.heartbeat.do = cn.beat
	first := cn.interval/5 + rand.N(cn.interval*4/5)
	cn.client.pacer.set(&cn.heartbeat, first)
}

// beat is called by the Pacer, which it must not keep.
func (cn *conn) beat() {
	c := cn.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if cn.closed {
		return
	}
	c.pacer.set(&cn.heartbeat, cn.interval)
	if cn.beating.CompareAndSwap(false, true) {
		cn.running.Go(func() {
			defer cn.beating.Store(false)
			cn.writeHeartbeat()
		})
	}
}

func (cn *conn) writeHeartbeat() {
	if cn.write(context.Background(), protocol.ActionPing, nil) != nil {
		return // the reader learns of it
	}
	every := cn.client.cfg.ProbeInterval
	if every < 0 {
		return
	}
	now := time.Now().UnixNano()
	if cn.probed != 0 && now-cn.probed < int64(every) {
		return
	}
	if cn.probed != 0 && cn.socket.heard.Load() < cn.probed {
		cn.abort(errSilent)
		return
	}
	cn.probed = now
	_ = cn.socket.send(context.Background(), gws.OpcodePing, nil) // the reader learns of an error
}
