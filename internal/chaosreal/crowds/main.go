//go:build linux

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/faac1247/rollcall/internal/chaosreal/lan"
)

// garbage is how much of it may pile up, in percent of what is alive: thousands
// of clients are to take no more of the processors than they must.
const garbage = 400

// ownLoad is how long a load lasts by default.
const ownLoad = 15 * time.Second

// story is one bad day.
type story struct {
	name, does string
	clients    int           // by default
	lasts      time.Duration // by default
	play       func(*lab) error
}

func stories() []story {
	return []story{
		{"roll", "three nodes are restarted one after another under clients who publish", 6000, 0, roll},
		{"crash", "a node of three is killed, and started anew", 10_000, 0, crash},
		{"storm", "everybody reconnects at once", 15_000, ownLoad, storm},
		{"overload", "the backend publishes ten times what fits, while people go and are kicked", 2000, ownLoad, overload},
		{"slow", "a fifth of the people stop reading", 5000, ownLoad, slow},
		{"files", "more come than the nodes have files for", 4000, 0, files},
		{"drains", "nodes are drained and started anew, over and over", 10_000, 0, drains},
		{"kills", "every ten seconds a node is killed and replaced, while people come, move, call and vanish", 5000, time.Minute, kills},
		{"redis", "every thirty seconds Redis is killed and started again on its files, while they do the same", 5000, 2 * time.Minute, redis},
		{"sentinel", "every minute the master is killed, and Sentinels fail over to its replica, while they do the same", 5000, 150 * time.Second, sentinel},
		{"away", "Redis is away, and comes back on its files, while they do the same", 5000, time.Minute, away},
		{"departures", "people leave as their nodes are killed, frozen and cut off, fall silent, and lose their network", 5000, 0, partings},
	}
}

// options are what the flags say.
type options struct {
	binary  string
	clients int
	times   int
	rate    int
	lasts   time.Duration
	every   time.Duration
	secure  bool
	verbose bool
}

// lab is what a story works with.
type lab struct {
	// set by run
	options
	dir string

	// set by the story
	roomSize  int                          // 0 for the default
	files     int                          // of a node, 0 for those of this process
	stores    func(*stage) (string, error) // starts what the nodes reach by the URL; nil for a redis-server
	scattered bool                         // people do not connect to the owners of their rooms
	lan       *lan.LAN                     // the nodes' network, nil for the loopback
	stage     *stage
	swarm     *swarm

	// guarded by mu
	mu     sync.Mutex
	faults []string
}

func main() {
	var base options
	flag.IntVar(&base.clients, "clients", 0, "clients; a story's own number by default")
	flag.IntVar(&base.times, "times", 0, "how often; a story's own number by default")
	flag.IntVar(&base.rate, "rate", 400, "publications a second by clients; the backend makes a quarter of that")
	flag.DurationVar(&base.lasts, "lasts", 0, "how long a story's load or trouble lasts; its own time by default")
	flag.DurationVar(&base.every, "every", 0, "time between two faults; a story's own by default")
	flag.BoolVar(&base.secure, "tls", false, "clients speak TLS")
	flag.BoolVar(&base.verbose, "v", false, "say what happens")
	flag.StringVar(&base.binary, "rollcall", "", "the program; built from this tree by default")
	keep := flag.String("logs", "", "directory for the servers' logs; a temporary one that is removed by default")
	flag.Usage = usage
	debug.SetGCPercent(garbage)
	flag.Parse()
	if err := run(base, *keep, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "crowds:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: crowds [flags] [story...]\n\nstories:")
	for _, s := range stories() {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", s.name, s.does)
	}
	fmt.Fprintln(os.Stderr, "\nflags:")
	flag.PrintDefaults()
}

// run plays the stories that are named, all without a name.
func run(base options, keep string, names []string) error {
	dir := keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "rollcall-crowds-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
	}
	if base.binary == "" {
		base.binary = filepath.Join(dir, "rollcall")
		if out, err := exec.Command("go", "build", "-trimpath", "-o", base.binary, "github.com/faac1247/rollcall").CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	var failed []error
	known := 0
	for _, s := range stories() {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		known++
		l := &lab{options: base, dir: filepath.Join(dir, s.name)}
		if l.clients == 0 {
			l.clients = s.clients
		}
		if l.lasts == 0 {
			l.lasts = s.lasts
		}
		if err := l.tell(s); err != nil {
			failed = append(failed, err)
		}
	}
	if known < len(names) {
		failed = append(failed, fmt.Errorf("unknown story among %q", names))
	}
	return errors.Join(failed...)
}

// tell plays one story and returns what was wrong.
func (l *lab) tell(s story) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	fmt.Printf("%s: %d clients\n", s.name, l.clients)
	err := s.play(l)
	if l.swarm != nil {
		l.swarm.close()
	}
	if l.stage != nil {
		l.stage.close()
	}
	if l.lan != nil {
		err = errors.Join(err, l.lan.Close())
	}
	if err != nil {
		l.faults = append(l.faults, err.Error())
	}
	for _, f := range l.faults {
		fmt.Printf("  FAULT %s\n", f)
	}
	if len(l.faults) > 0 {
		return fmt.Errorf("%s: %d faults", s.name, len(l.faults))
	}
	fmt.Println("  no fault")
	return nil
}

// set starts n nodes and makes the people, of whom nobody comes yet.
func (l *lab) set(n int, flags ...string) (err error) {
	if l.stage, err = newStage(l, n, flags...); err != nil {
		return err
	}
	l.swarm, err = newSwarm(l.stage, l.clients, cmp.Or(l.roomSize, roomSize), l.scattered)
	return err
}

// open starts n nodes and brings everybody in.
func (l *lab) open(n int, flags ...string) error {
	if err := l.set(n, flags...); err != nil {
		return err
	}
	return l.fill()
}

// fill brings everybody in.
func (l *lab) fill() error {
	began := time.Now()
	l.swarm.come()
	if _, err := l.swarm.allOnline(backLimit); err != nil {
		return err
	}
	if err := l.swarm.enter(); err != nil {
		return err
	}
	l.note("everybody is in after %s", time.Since(began).Round(time.Millisecond))
	return l.swarm.greet(backLimit)
}

func (l *lab) timesOr(own int) int {
	if l.times > 0 {
		return l.times
	}
	return own
}

// figure prints a result.
func (l *lab) figure(name string, value any) { fmt.Printf("  %-52s %v\n", name, value) }

// note prints what happens.
func (l *lab) note(format string, args ...any) {
	if l.verbose {
		fmt.Printf("    "+format+"\n", args...)
	}
}

// fault notes that a promise is broken.
func (l *lab) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
	l.note("FAULT "+format, args...)
}

// bound is a fault if a time is over its limit.
func (l *lab) bound(name string, got, limit time.Duration) {
	if got > limit {
		l.fault("%s is %s, more than %s", name, got, limit)
	}
}

// judged prints a verdict, whose faults are the story's.
func (l *lab) judged(v verdict) {
	l.figure("publications; heard by all members together", fmt.Sprintf("%d; %d", v.published, v.heard))
	l.figure("missing; out of order; answered and unheard", fmt.Sprintf("%d; %d; %d", v.missing, v.disorder, v.unheard))
	l.figure("exit_room; hang_up; expelled", fmt.Sprintf("%d; %d; %d", v.exits, v.hangUps, v.expelled))
	l.faults = append(l.faults, v.faults()...)
}
