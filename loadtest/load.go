package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/client/backend"
	"github.com/faac1247/rollcall/protocol"
)

const (
	// lead is how long before its beginning a run is announced to the workers.
	lead = 500 * time.Millisecond
	// readers is how many rooms are asked about at a time.
	readers = 16
	// looks is how often rosters are asked for until they fit, with pauses.
	looks = 4
)

// load does the whole run.
func load(ctx context.Context, set settings, show *progress) (res *result, err error) {
	api, err := backend.New(backend.Config{URLs: set.API, Key: set.APIKey})
	if err != nil {
		return nil, err
	}
	f, err := newFleet(set)
	if err != nil {
		return nil, err
	}
	r := &runner{set: set, api: api, fleet: f, show: show}
	defer func() {
		r.emptyRooms()
		if closed := f.close(); err == nil {
			err = closed
		}
	}()
	show.begin(fmt.Sprintf("connecting %d users", set.Clients), set.Setup, f)
	began := time.Now()
	if err := f.up(ctx); err != nil {
		show.end()
		return nil, fmt.Errorf("set up: %w", err)
	}
	show.end()
	r.setup = time.Since(began)
	return r.run(ctx)
}

// runner is one run, once everybody is in.
type runner struct {
	set   settings
	api   *backend.Client
	fleet *fleet
	show  *progress
	setup time.Duration

	span      Span
	victim    victim
	servers   servers
	serverCPU time.Duration
}

func (r *runner) run(ctx context.Context) (*result, error) {
	r.servers = findServers(ctx, r.api)
	start := time.Now().Add(lead)
	r.span = Span{Start: start, End: start.Add(r.set.Duration)}
	r.show.begin(r.set.Scenario, r.set.Duration, r.fleet)
	driven := make(chan error, 1)
	var cpu []CPU
	go func() {
		var err error
		cpu, err = all[CPU](r.fleet, "Drive", func(int) any { return r.span })
		driven <- err
	}()
	if err := r.kill(ctx); err != nil {
		return nil, err
	}
	if r.set.Scenario != "failover" {
		r.serverCPU = r.servers.during(ctx, r.span)
	}
	select {
	case err := <-driven:
		r.show.end()
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		r.show.end()
		return nil, errors.New("interrupted")
	}
	return r.judge(ctx, cpu)
}

// kill kills a node after a third of the run, where that is the scenario.
func (r *runner) kill(ctx context.Context) error {
	if r.set.Scenario != "failover" {
		return nil
	}
	v, err := findVictim(ctx, r.set, r.api)
	if err != nil {
		return err
	}
	if !sleepUntil(ctx, r.span.Start.Add(r.set.Duration/3)) {
		return errors.New("interrupted")
	}
	if v.at, err = v.kill(); err != nil {
		return err
	}
	r.victim = v
	gone, err := all[int](r.fleet, "Killed", func(int) any { return Kill{EndPoint: v.endPoint, At: v.at} })
	for _, n := range gone {
		r.victim.gone += n
	}
	return err
}

// judge asks who is listed where, and compares.
func (r *runner) judge(ctx context.Context, cpu []CPU) (*result, error) {
	if !r.victim.at.IsZero() {
		// Only then has everybody had the time to be missed.
		r.show.line("waiting until %v after the kill", r.set.GhostTime)
		if !sleepUntil(ctx, r.victim.at.Add(r.set.GhostTime)) {
			return nil, errors.New("interrupted")
		}
	}
	var view crowd
	var verdict standing
	for look := range looks {
		outcomes, err := all[Outcome](r.fleet, "Report", nil)
		if err != nil {
			return nil, err
		}
		view = gather(outcomes)
		if scenarios[r.set.Scenario].chat {
			view.countLines(r.set.Clients)
			break
		}
		rosters, err := r.rosters(ctx)
		if err != nil {
			return nil, err
		}
		if verdict = view.compare(rosters); verdict.fits() || look == looks-1 {
			break
		}
		if !sleepUntil(ctx, time.Now().Add(r.set.Settle)) {
			return nil, errors.New("interrupted")
		}
	}
	return r.result(view, verdict, cpu), nil
}

// rosters asks for everybody in all rooms.
func (r *runner) rosters(ctx context.Context) (map[string][]protocol.UserID, error) {
	rosters := make(map[string][]protocol.UserID)
	var mu sync.Mutex
	err := r.eachRoom(func(room string) error {
		list, err := r.api.Roster(ctx, protocol.RoomID(room))
		if protocol.CodeOf(err) == protocol.CodeRoomNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, o := range list {
			rosters[room] = append(rosters[room], o.UserID)
		}
		return nil
	})
	return rosters, err
}

// eachRoom calls do for every room, several at a time, and returns the first
// error.
func (r *runner) eachRoom(do func(room string) error) error {
	var next, failed = make(chan string), make(chan error, readers)
	var running sync.WaitGroup
	for range readers {
		running.Go(func() {
			var first error
			for room := range next {
				if err := do(room); first == nil {
					first = err
				}
			}
			failed <- first
		})
	}
	for i := range r.set.Rooms {
		next <- r.set.room(i)
	}
	close(next)
	running.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// emptyRooms leaves the cluster as it was found, as far as it answers.
func (r *runner) emptyRooms() {
	if scenarios[r.set.Scenario].chat {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = r.eachRoom(func(room string) error {
		_, err := r.api.CloseRoom(ctx, protocol.RoomID(room))
		if said := new(backend.Error); err != nil && !errors.As(err, &said) {
			cancel() // nobody answers
		}
		return err
	})
}

// machine describes where the load came from.
func machine() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s, %s/%s, %d CPUs, %s", host, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// sorted returns a map's keys in order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
