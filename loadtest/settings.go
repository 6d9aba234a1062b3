package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the command line. Workers get them as JSON.
type settings struct {
	EndPoint []string      `name:"end-point" default:"http://127.0.0.1:8001" help:"Where clients ask for their node; several for several nodes."`
	API      []string      `name:"api" default:"http://127.0.0.1:8101" help:"The backend's door; several for several nodes."`
	APIKey   string        `name:"api-key" default:"dev" help:"Key of the backend's door."`
	Clients  int           `default:"1000" help:"How many users."`
	Rooms    int           `default:"100" help:"Rooms that they are spread over."`
	Scenario string        `default:"steady" help:"${scenarios}."`
	Duration time.Duration `default:"30s" help:"How long the load lasts, once everybody is in."`

	Rate        float64       `help:"Operations a second: messages, churns, calls, by scenario. 0: the scenario's own."`
	Size        int           `default:"128" help:"Bytes of a message's content."`
	Via         string        `enum:"client,api" default:"client" help:"Who publishes messages: the clients themselves, or the backend (client, api)."`
	ConnectRate float64       `default:"1000" help:"Connections a second at the beginning."`
	V2          bool          `name:"v2" help:"Ask for presence and entered frames."`
	Waves       int           `default:"1" help:"storm: how often everybody is cut off."`
	Setup       time.Duration `default:"2m" help:"How long connecting everybody may take."`
	FirstUser   int64         `default:"1000000" help:"Id of the first user."`
	SID         string        `name:"sid" default:"%ds0loadtest" help:"Sid of a user, %d for the id."`

	KillNode  string        `default:"n2" help:"failover: the node of a local cluster (rollcall dev) to kill."`
	KillPID   int           `name:"kill-pid" help:"failover: the process to kill, in its place."`
	StayAway  float64       `default:"0.05" help:"failover: the part of the clients that goes with the node and does not come back."`
	Grace     time.Duration `default:"12s" help:"The cluster's --crash-grace: who is back within it must not be missed."`
	GhostTime time.Duration `default:"20s" help:"How long a user who is gone may be listed."`

	MNS    string `name:"mns" default:"http://127.0.0.1:8301" help:"danmaku: the chat pipeline's door."`
	MNSKey string `name:"mns-key" default:"dev:dev" help:"danmaku: its key, id:secret."`

	Report string `help:"Write a page to look at." placeholder:"FILE.html"`
	JSON   string `name:"json" help:"Write the figures." placeholder:"FILE.json"`

	Settle    time.Duration `default:"2s" help:"How long stragglers have after the run."`
	Processes int           `help:"Processes to share the clients out to. 0: as many as the file limit asks for."`
	Sources   int           `help:"Source addresses 127.0.1.1 and up, on Linux. 0: as many as ports ask for, if the server is on this machine."`

	Limits limits `embed:""`

	Worker bool `hidden:"" help:"Be one of several processes."`
}

// limits are what the run is judged by. Negative is no limit.
type limits struct {
	MaxP50        time.Duration `name:"max-p50" default:"-1ns" help:"Limit of the scenario's latency: half of all."`
	MaxP99        time.Duration `name:"max-p99" default:"-1ns" help:"99 in 100."`
	MaxP999       time.Duration `name:"max-p999" default:"-1ns" help:"999 in 1000."`
	MaxGhosts     int64         `default:"-1" help:"Limit of users listed who are gone."`
	MaxMissing    int64         `default:"-1" help:"Limit of users connected who are not listed in their room."`
	MaxFalseExits int64         `default:"-1" help:"Limit of users declared lost who were there, or back in time."`
	MaxLost       int64         `default:"-1" help:"Limit of frames that a client never saw."`
	MaxErrors     int64         `default:"-1" help:"Limit of operations that failed."`
	MaxRecover    time.Duration `default:"-1ns" help:"Limit of the time until all are back."`
}

// validate reports everything that is wrong at once.
func (s *settings) validate() error {
	var faults []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, raw := range slices.Concat(s.EndPoint, s.API, []string{s.MNS}) {
		u, err := url.Parse(raw)
		bad(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "", "%q is no http URL", raw)
	}
	_, known := scenarios[s.Scenario]
	bad(!known, "scenario %q: use one of %s", s.Scenario, scenarioNames())
	bad(s.Clients < 1, "--clients %d: at least 1", s.Clients)
	bad(s.Rooms < 1, "--rooms %d: at least 1", s.Rooms)
	bad(s.Duration < time.Second, "--duration %v: at least 1s", s.Duration)
	bad(s.Rate < 0, "--rate %v is negative", s.Rate)
	bad(s.Size < minContent || s.Size > maxContent, "--size %d: from %d to %d", s.Size, minContent, maxContent)
	bad(s.ConnectRate <= 0, "--connect-rate %v: more than 0", s.ConnectRate)
	bad(s.Waves < 1, "--waves %d: at least 1", s.Waves)
	bad(s.StayAway < 0 || s.StayAway > 1, "--stay-away %v: from 0 to 1", s.StayAway)
	bad(s.FirstUser < 1, "--first-user %d: at least 1", s.FirstUser)
	bad(strings.Count(s.SID, "%d") != 1 || strings.Count(s.SID, "%") != 1, "--sid %q: with one %%d for the user's id", s.SID)
	bad(s.Processes < 0 || s.Sources < 0 || s.Sources > 250 || s.Settle < 0, "--processes, --sources and --settle: not negative, 250 sources at most")
	return errors.Join(faults...)
}

// minContent leaves room for the time in it; maxContent keeps a frame within
// what a client may send.
const (
	minContent = 24
	maxContent = 7 << 10
)

// prepare fills in what the scenario decides.
func (s *settings) prepare() {
	if s.Scenario == "hotroom" || s.Scenario == "danmaku" {
		s.Rooms = 1
	}
	if s.Rate == 0 {
		s.Rate = scenarios[s.Scenario].rate(s)
	}
	if s.Processes == 0 {
		s.Processes = (s.Clients + fileBudget() - 1) / fileBudget()
	}
	s.Processes = min(s.Processes, s.Clients)
	if s.Sources == 0 && onThisMachine(append(s.EndPoint, s.MNS)) {
		s.Sources = (s.Clients + portsEach - 1) / portsEach
	}
}

// portsEach is how many of an address' ports are used for clients.
const portsEach = 20_000

// fileReserve is for all files of a process but its clients' sockets.
const fileReserve = 600

// fileBudget returns how many clients' sockets this process may have open. The
// runtime has raised the limit to what the system allows.
func fileBudget() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 - fileReserve
	}
	return max(int(min(limit.Cur, 1<<20))-fileReserve, 100)
}

// onThisMachine reports whether all addresses are loopback ones.
func onThisMachine(addresses []string) bool {
	for _, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			return false
		}
		ip := net.ParseIP(u.Hostname())
		if u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// user returns the id of user number i, and sid its sid.
func (s *settings) user(i int) int64 { return s.FirstUser + int64(i) }

func (s *settings) sid(i int) string { return fmt.Sprintf(s.SID, s.user(i)) }

// room returns the id of room number i.
func (s *settings) room(i int) string { return fmt.Sprintf("load-%d", i%s.Rooms) }
