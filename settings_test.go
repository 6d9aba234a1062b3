package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/faac1247/rollcall/bridge"
)

// parseServe reads a command line of serve the way the program does.
func parseServe(t *testing.T, args ...string) (*settings, error) {
	t.Helper()
	var c commands
	parser, err := newParser(&c, &program{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}, kong.Exit(func(int) { t.Fatal("the parser exits") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return &c.Serve.Settings, err
}

func TestEveryFlagWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	s, err := parseServe(t,
		"--node-id", "a b", "--listen", "8001", "--api", "0.0.0.0:8101", "--admin", "nowhere", "--gossip", "0.0.0.0:7946",
		"--gossip-key", "not base64!", "--frame-sign", "rot13", "--ping-interval", "soon", "--heartbeat-timeout=-1s",
		"--loss-grace", "x", "--crash-grace", "x", "--report-timeout", "x", "--departure-deadline", "x", "--drain-timeout", "x",
		"--room-delivery", "some", "--room-spread=-1", "--max-conns", "many", "--max-conns-per-ip=-1", "--trusted-proxies", "10.0.0.0",
		"--tls-cert", "only.pem", "--sid-auth", "trust", "--log-level", "loud", "--log-format", "xml",
	)
	if err != nil {
		t.Fatalf("refused by the parser: %v", err)
	}
	_, err = s.config()
	if err == nil {
		t.Fatal("no fault found")
	}
	for _, flag := range []string{
		"node-id", "listen", "api", "admin", "gossip", "gossip-key", "frame-sign", "ping-interval", "heartbeat-timeout", "loss-grace",
		"crash-grace", "report-timeout", "departure-deadline", "drain-timeout", "room-delivery", "room-spread", "max-conns", "max-conns-per-ip",
		"trusted-proxies", "tls-cert", "sid-auth", "log-level", "log-format",
	} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("the faults do not name %s:\n%v", flag, err)
		}
	}
}

func TestSettingsComeFromFlagsThenEnvironmentThenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	if err := os.WriteFile(file, []byte("listen: 127.0.0.1:1\napi: 127.0.0.1:2\nadmin: 127.0.0.1:3\njoin: [a:1, b:2]\nping-interval: 5s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ROLLCALL_API", "127.0.0.1:20")
	t.Setenv("ROLLCALL_ADMIN", "127.0.0.1:30")
	s, err := parseServe(t, "--config", file, "--admin", "127.0.0.1:300", "--sid-auth", "dev")
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:1" || s.API != "127.0.0.1:20" || s.Admin != "127.0.0.1:300" || strings.Join(s.Join, " ") != "a:1 b:2" || s.PingInterval != "5s" {
		t.Errorf("settings are %+v", *s)
	}
}

func TestUnknownSettingInFileIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	if err := os.WriteFile(file, []byte("lisen: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parseServe(t, "--config", file); err == nil || !strings.Contains(err.Error(), `"lisen"`) {
		t.Errorf("error is %v, want one that names lisen", err)
	}
}

// Several Sentinels can be given in each way that docs and help speak of; none of
// their addresses and settings is lost.
func TestRedisAddressesAreOneStore(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--redis", "redis://a:1,b:2/3?master=boss"},
		{"--redis", "redis://a:1", "--redis", "b:2/3?master=boss"},
		{"--redis", "redis://a:1", "--redis", "redis://b:2/3?master=boss"},
		{"--redis", "redis://a:1?master=boss,redis://b:2/3"},
	} {
		s, err := parseServe(t, append([]string{"--sid-auth", "dev"}, args...)...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
			continue
		}
		if err := (bridge.Config{URL: s.storeURL()}).Validate(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		for _, part := range []string{"a:1", "b:2", "/3", "master=boss"} {
			if !strings.Contains(s.storeURL(), part) {
				t.Errorf("%v: the store is %q, without %q", args, s.storeURL(), part)
			}
		}
	}
}

func TestWrongSettingsExitWithStatus2(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"serve", "--no-such-flag"},
		{"serve", "--sid-auth", "dev", "--listen", "nowhere"},
		{"serve", "--sid-auth", "dev", "--redis", "http://127.0.0.1:1"},
		{"check", "--sid-auth", "jwt"},
		{"nonsense"},
	} {
		var stderr bytes.Buffer
		if status := runWith(context.Background(), args, &program{stdout: new(bytes.Buffer), stderr: &stderr}); status != exitUsage {
			t.Errorf("%v: status %d, want %d: %s", args, status, exitUsage, stderr.String())
		}
		if stderr.Len() == 0 {
			t.Errorf("%v: nothing said", args)
		}
	}
}

func TestPasswordOfTheStoreIsNotSaid(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	runWith(context.Background(), []string{"serve", "--sid-auth", "dev", "--redis", "redis://user:s3cret@host:port%zz"}, &program{stdout: new(bytes.Buffer), stderr: &stderr})
	if strings.Contains(stderr.String(), "s3cret") {
		t.Errorf("the password is in %q", stderr.String())
	}
}
