package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func mustLoad(t *testing.T, set settings) *result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := load(ctx, set, &progress{out: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (res *result) count(name string) int64 {
	for _, c := range res.Counts {
		if c.Name == name {
			return c.Total
		}
	}
	return -1
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	for scenario, counts := range map[string][]string{
		"steady":  {cSent, cDelivered},
		"hotroom": {cSent, cDelivered},
		"churn":   {cEntered, cExited, cDelivered},
		"storm":   {cBreaks, cExpelled},
		"calls":   {cCalls, cBreaks},
	} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			res := mustLoad(t, f.settings(scenario, 24))
			if !res.Passed || res.Ghosts+res.Missing+res.FalseExits != 0 {
				t.Errorf("verdicts %+v, listings %+v", res.Verdicts, res.Listings)
			}
			if main := res.distributions[res.Main]; main == nil || main.TotalCount() == 0 {
				t.Errorf("%s was not measured", res.Main)
			}
			for _, name := range counts {
				if res.count(name) <= 0 {
					t.Errorf("%s: %d", name, res.count(name))
				}
			}
			if res.count(cErrors) != 0 {
				t.Errorf("notes %v", res.Notes)
			}
			if scenario == "storm" && (res.count(cBreaks) != 24 || res.RecoverSeconds <= 0) {
				t.Errorf("%d were cut off, back after %v s", res.count(cBreaks), res.RecoverSeconds)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.rooms) != 0 {
				t.Errorf("%d rooms are left behind", len(f.rooms))
			}
		})
	}
}

func TestBackendPublishes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	set := f.settings("steady", 8)
	set.Via = "api"
	if res := mustLoad(t, set); res.count(cSent) != 50 || f.posts != 50 || res.count(cDelivered) != 100 {
		t.Errorf("%d sent, %d posted, %d delivered", res.count(cSent), f.posts, res.count(cDelivered))
	}
}

func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	set := f.settings("steady", 25)
	set.Processes = 3
	res := mustLoad(t, set)
	if !res.Passed || res.CPU.Processes != 3 || res.CPU.Cores <= 0 || res.count(cConnected) != 25 || res.count(cSent) < 50 || res.count(cSent) > 52 {
		t.Errorf("%+v, counts %+v", res.CPU, res.Counts)
	}
}

func TestGhostsAreSeen(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.ghosts = true
	set := f.settings("churn", 12)
	res := mustLoad(t, set)
	if res.Passed || res.Ghosts == 0 || len(res.Listings) == 0 || !strings.Contains(res.Listings[0].Why, "is in") {
		t.Errorf("%d ghosts, %+v", res.Ghosts, res.Listings)
	}
}

func TestFalseExitsAreSeen(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.lies = true
	if res := mustLoad(t, f.settings("steady", 12)); res.Passed || res.FalseExits == 0 {
		t.Errorf("%d false exits", res.FalseExits)
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	set := f.settings("steady", 3)
	set.Setup = 300 * time.Millisecond
	f.server.Close()
	_, err := load(t.Context(), set, &progress{out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "0 of 3 users") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestReportsAreWritten(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	set := f.settings("steady", 8)
	dir := t.TempDir()
	set.Report, set.JSON = filepath.Join(dir, "r.html"), filepath.Join(dir, "r.json")
	var out bytes.Buffer
	if err := mustLoad(t, set).write(&out); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "delivery") || !strings.Contains(text, "us a frame received") || !strings.Contains(text, "ok     ghosts: 0, limit 0") {
		t.Error(text)
	}
	b, err := os.ReadFile(set.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var back result
	if err := json.Unmarshal(b, &back); err != nil || !back.Passed || len(back.Latencies) == 0 || len(back.Series.P50) != 1 {
		t.Errorf("%v, %+v", err, back)
	}
	if page, err := os.ReadFile(set.Report); err != nil || !strings.Contains(string(page), "<svg") {
		t.Errorf("%v", err)
	}
}

// stranger starts a process that looks like a node.
func stranger(t *testing.T, node, endPoint string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "serve", "--node-id", node, "--advertise", endPoint)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // unless the test has
	})
	return cmd
}

func TestFailover(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.node = "test-" + t.TempDir()
	stranger(t, f.node, "ws://another.example:1") // of another cluster
	cmd := stranger(t, f.node, f.endPoint())
	set := f.settings("failover", 24)
	set.KillNode, set.StayAway, set.GhostTime, set.Duration = f.node, 0.25, 2*time.Second, 2*time.Second
	died := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		f.dropAll() // as the kernel does with a dead process' sockets
		died <- err
	}()
	res := mustLoad(t, set)
	if err := <-died; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("ended with %v", err)
	}
	k := res.Killed
	if k == nil || k.PID != cmd.Process.Pid || k.GoneToo < 3 || k.GoneToo > 9 {
		t.Fatalf("killed %+v", k)
	}
	// The fake has no grace: who was cut off is out of its room, and told so.
	if res.FalseExits == 0 || res.Ghosts != 0 || res.RecoverSeconds <= 0 || res.count(cBroken) == 0 {
		t.Errorf("%d false exits, %d ghosts, recovered in %v s, %d cut off", res.FalseExits, res.Ghosts, res.RecoverSeconds, res.count(cBroken))
	}
	if rooms := res.distributions[mRoom]; rooms.TotalCount() == 0 {
		t.Error("no room's recovery was measured")
	}
}

func TestFailoverWithoutProcess(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.node = "test-" + t.TempDir()
	set := f.settings("failover", 4)
	set.KillNode = f.node
	_, err := load(t.Context(), set, &progress{out: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "--kill-pid") {
		t.Errorf("%v", err)
	}
	set.KillNode = "nobody"
	if _, err := load(t.Context(), set, &progress{out: io.Discard}); err == nil || !strings.Contains(err.Error(), "no node nobody") {
		t.Errorf("%v", err)
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{
		"--no-such-flag":     exitUsage,
		"--scenario nothing": exitUsage,
		"--clients 0":        exitUsage,
		"--end-point http://127.0.0.1:1 --api http://127.0.0.1:1 --clients 1 --setup 50ms": exitMissed,
	} {
		if got := run(strings.Fields(args)); got != want {
			t.Errorf("%s: status %d, want %d", args, got, want)
		}
	}
}
