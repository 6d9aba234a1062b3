package integ

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Figures of the tests that have some. The defaults fit a plain run.
var (
	runs      = flag.Int("integ.runs", 50, "ends of processes that TestDepartureLatency measures, each way")
	crashSize = flag.Int("integ.crash", 100, "clients of TestNodeCrash")
	scaleSize = flag.Int("integ.scale", 200, "clients of TestScaleOutAndBack")
	viewers   = flag.Int("integ.viewers", 150, "viewers of TestChatRoom")
	lines     = flag.Int("integ.lines", 2000, "lines of TestChatRoom")
	rollSize  = flag.Int("integ.roll", 60, "clients of TestEveryNodeIsReplaced")
	cutTime   = flag.Duration("integ.cut", 0, "how long TestScenario4GossipCut cuts gossip; as short as shows something by default")
	raced     = flag.Bool("integ.race", false, "build the server with the race detector")
)

// roleVariable makes this binary another program than the tests.
const roleVariable = "ROLLCALL_INTEG_ROLE"

// parallelStories is how many run at a time. They mostly wait.
const parallelStories = "16"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
	case roleReaper:
		os.Exit(reap(os.Stdin, os.Args[1]))
	case roleClient:
		os.Exit(beClient(os.Stdin, os.Stdout, os.Args[1:]))
	default:
		fmt.Fprintf(os.Stderr, "integ: no role %q\n", role)
		os.Exit(2)
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if err := lab.open(); err != nil {
		fmt.Fprintln(os.Stderr, "integ:", err)
		return 1
	}
	defer lab.close()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", parallelStories); err != nil {
			fmt.Fprintln(os.Stderr, "integ:", err)
			return 1
		}
	}
	return m.Run()
}

// laboratory is what all tests share: the program, a redis-server, an address
// to listen on, and the reaper.
type laboratory struct {
	// set by open
	dir    string
	binary string
	redis  string // URL
	host   string
	ports  *ports
	reaper *reaper
	shared map[string]*sharedCluster
	lans   atomic.Int64 // how many there were
}

var lab laboratory

func (l *laboratory) open() (err error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("redis-server is not installed: apt-get install redis-server")
	}
	if l.dir, err = os.MkdirTemp("", "rollcall-integ-"); err != nil {
		return err
	}
	if l.reaper, err = startReaper(l.dir); err != nil {
		return err
	}
	l.binary = filepath.Join(l.dir, "rollcall")
	args := []string{"build", "-o", l.binary}
	if *raced {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/faac1247/rollcall")...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	l.host = ownAddress()
	l.ports = newPorts(l.host)
	l.shared = sharedClusters()
	l.redis, err = startRedis(filepath.Join(l.dir, "redis"))
	return err
}

// close ends every process and removes every file, as the reaper would.
func (l *laboratory) close() {
	l.reaper.close()
}
