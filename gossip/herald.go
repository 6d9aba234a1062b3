package gossip

import (
	"context"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// forgetEvery is how often former members are looked through.
const forgetEvery = 10 * time.Second

// herald logs what changes in the view, outside of memberlist's lock, and
// forgets members that went long ago, until ctx ends.
func (g *Gossip) herald(ctx context.Context) {
	ticker := time.NewTicker(forgetEvery)
	defer ticker.Stop()
	told := &View{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			g.roster.forget(time.Now().Add(-g.config.FormerFor))
		case <-g.roster.news:
			view := g.View()
			g.tell(told, view)
			told = view
		}
	}
}

// tell logs the difference between two views.
func (g *Gossip) tell(before, after *View) {
	for _, m := range after.Members {
		if m.Node == g.config.Node {
			continue
		}
		former, known := before.Member(m.Node)
		switch {
		case m.State == Alive && (!known || former.State != Alive):
			g.logMember("member joined", m, former.Incarnation)
		case m.State == Alive && former.Incarnation != m.Incarnation:
			g.logMember("member restarted", m, former.Incarnation)
		case m.State == Left && former.State == Alive:
			g.logMember("member left", m, "")
		case m.State == Failed && former.State == Alive:
			g.logMember("member failed", m, "")
		}
	}
}

func (g *Gossip) logMember(what string, m Member, former protocol.Incarnation) {
	args := []any{"member", m.Incarnation, "addr", m.Addr, "state", m.Meta.State}
	if former != "" && former != m.Incarnation {
		args = append(args, "former", former)
	}
	g.config.Logger.Info(what, args...)
}
