package integ

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faac1247/rollcall/mns/mnsclient"
)

// secrets are texts that nobody may read in what nodes say, by what they are.
type secrets map[string]string

// leaks fails the test for every secret that is in a text.
func (s secrets) leaks(t *testing.T, where, text string) {
	t.Helper()
	for what, secret := range s {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s: %s is in it: …%s…", where, what, text[max(0, i-150):min(len(text), i+len(secret)+20)])
		}
	}
}

// Whatever happens, and at whatever level nodes log: no key, password or sid is
// in their logs, metrics and debug pages.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	const redisPassword, adminKey, hookPassword, hookToken = "redis-pass-5501", "admin-key-5502", "hook-pass-5503", "hook-token-5504"
	secret := secrets{
		"the API's key": "second-key-5505", "the admin's key": adminKey, "Redis' password": redisPassword, "the webhook's password": hookPassword,
		"the webhook's token": hookToken, "the webhook's key": "hook-key-5506", "the key of sids": jwtKey, "the chat pipeline's secret": mnsSecret,
		"a chat secret": "mns-secret-5507", "gossip's key": base64.StdEncoding.EncodeToString([]byte("gossip-key-5508-gossip-key-5508!")),
		"gossip's key itself": "gossip-key-5508-gossip-key-5508!", "the key set's password": "jwks-pass-5509", "a wrong API key": "wrong-key-5510",
	}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(hook.Close)
	store, err := startRedis(filepath.Join(lab.dir, fmt.Sprintf("redis-%d", names.Add(1))), "--requirepass", redisPassword)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(store, "redis://")
	c := startCluster(t, clusterOptions{redis: "redis://:" + redisPassword + "@" + address, mns: true, flags: []string{
		"--log-level", "debug", "--api-key", secret["the API's key"], "--admin-key", adminKey, "--gossip-key", secret["gossip's key"],
		"--webhook", fmt.Sprintf("http://hook:%s@%s/?token=%s", hookPassword, strings.TrimPrefix(hook.URL, "http://"), hookToken),
		"--webhook-key", secret["the webhook's key"], "--mns-key", "second:" + secret["a chat secret"],
		"--sid-auth", "jwt", "--jwt-key", jwtKey, "--jwks-url", "http://keys:" + secret["the key set's password"] + "@" + at(lab.ports.next()) + "/keys",
		"--frame-sign", "hmac",
	}})

	// A day of a cluster, good and bad.
	room := newRoom()
	var phones []*phone
	for i := range 3 {
		p := c.signedPhone(newUser(), i+1, phoneOptions{})
		secret[fmt.Sprintf("sid %d", i)] = p.sid
		secret[fmt.Sprintf("online token %d", i)] = p.token().fields["online_token"].(string)
		secret[fmt.Sprintf("frame key %d", i)] = p.token().fields["sign_key"].(string)
		c.enter(i+1, room, p.user, nil)
		phones = append(phones, p)
	}
	c.sit(1, room, 1, phones[0].user)
	c.call(2, phones[0].user, phones[1].user)
	phones[1].sayRaw(1, sign(phones[1].whole(fields{"action": "send_topic_msg", "room_id": room}), byMD5, ""))
	phones[1].sayRaw(1, []byte("nonsense"))
	forged := token("HS256", "some other secret of sufficient length!!", claims{Subject: "5", Expires: time.Now().Add(time.Hour).Unix()})
	secret["a forged sid"] = forged
	secret["a sid of a key unknown"] = strings.Replace(forged, ".", "x.", 1)
	for _, sid := range []string{forged, secret["a sid of a key unknown"]} {
		if p, err := dialPhone(at(c.ports[1].listen), 5, phoneOptions{sid: sid}); err == nil {
			p.hang()
		}
		if e, err := c.endPoint(2, url.Values{"sid": {sid}, "room_id": {room}}); err != nil || e.ErrorCode == 0 {
			t.Errorf("end_point of a forged sid: %+v, %v", e, err)
		}
	}
	askChat(t, c.mnsURL(1), mnsSecret, true)
	askChat(t, c.mnsURL(1), secret["a chat secret"], false) // not the key of this id
	for _, door := range []int{c.ports[1].api, c.ports[1].admin} {
		if status, _ := fetch(t, door, "/v1/cluster", secret["a wrong API key"]); status != http.StatusUnauthorized {
			t.Errorf("a wrong key is answered %d", status)
		}
	}
	c.kill9(3)
	phones[0].hang()
	again := c.signedPhone(phones[0].user, 2, phoneOptions{})
	secret["a later sid"] = again.sid
	const fresh = "redis-pass-5511"
	secret["Redis' other password"] = fresh
	_, port, _ := strings.Cut(address, ":")
	tell := func(password string, command ...string) error {
		// Redis-cli takes a password in its URL for that of a user named "".
		args := append([]string{"-e", "-h", lab.host, "-p", port, "-a", password, "--no-auth-warning"}, command...)
		if out, err := exec.Command("redis-cli", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("redis-cli %v: %w: %s", command, err, out)
		}
		return nil
	}
	if err := tell(redisPassword, "config", "set", "requirepass", fresh); err != nil {
		t.Fatal(err)
	}
	// A node that holds a connection from before needs the password for no other.
	if err := tell(fresh, "client", "kill", "skipme", "yes"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, says(c.node(1), "WRONGPASS"))

	for _, i := range c.numbers() {
		for _, path := range []string{
			"/metrics", "/healthz", "/readyz", "/debug/check", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2",
			"/v1/cluster", fmt.Sprintf("/v1/users/%d/timeline", phones[0].user),
		} {
			status, body := fetch(t, c.ports[i].admin, path, adminKey)
			secret.leaks(t, fmt.Sprintf("node %d, %s (%d)", i, path, status), body)
		}
	}
	if err := tell(fresh, "config", "set", "requirepass", redisPassword); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		_, err := c.room(1, room)
		return err
	})
	c.signal(1, syscall.SIGTERM)
	c.forget(1).exit(t, 40*time.Second)
	logs, err := filepath.Glob(filepath.Join(lab.dir, c.name, "*.log"))
	if err != nil || len(logs) != 3 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	for _, name := range logs {
		out := (&process{log: name}).output()
		if !strings.Contains(out, "level=DEBUG") && !strings.Contains(out, "msg=serving") {
			t.Errorf("%s is no log of a node:\n%s", name, out)
		}
		secret.leaks(t, filepath.Base(name), out)
	}
}

// Settings that are wrong are named without what is secret in them.
func TestWrongSettingsSayNoSecret(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"redis, port":         {"--redis", "redis://me:hidden-8841@127.0.0.1:port"},
		"redis, scheme":       {"--redis", "http://me:hidden-8841@127.0.0.1"},
		"redis, control byte": {"--redis", "redis://me:hidden-8841\x01@127.0.0.1"},
		"redis, option":       {"--redis", "redis://me:hidden-8841@127.0.0.1?colour=red"},
		"webhook":             {"--webhook", "ftp://me:hidden-8841@there"},
		"webhook, escape":     {"--webhook", "http://me:hidden-8841%zz@there"},
		"key set":             {"--sid-auth", "jwt", "--jwks-url", "ftp://me:hidden-8841@there"},
		"key set, escape":     {"--sid-auth", "jwt", "--jwks-url", "http://me:hidden-8841%zz@there"},
		"sid check":           {"--sid-auth", "backend", "--auth-url", "ftp://me:hidden-8841@there"},
		"sid check, escape":   {"--sid-auth", "backend", "--auth-url", "http://me:hidden-8841%zz@there"},
		"short key of sids":   {"--sid-auth", "jwt", "--jwt-key", "hidden-8841"},
		"gossip's key":        {"--gossip-key", "hidden-8841"},
		"gossip's key, short": {"--gossip-key", "aGlkZGVuLTg4NDE="},
		"chat key":            {"--mns", ":8301", "--mns-key", "hidden-8841"},
		"chat rights":         {"--mns", ":8301", "--mns-key", "id:hidden-8841:fly"},
		"an unknown flag":     {"--no-such-flag"},
	} {
		out, err := exec.Command(lab.binary, append([]string{"check", "--sid-auth", "dev"}, args...)...).CombinedOutput()
		if err == nil {
			t.Errorf("%s: taken: %s", name, out)
		}
		secrets{"the secret": "hidden-8841", "it in base64": "aGlkZGVuLTg4NDE"}.leaks(t, name, string(out))
	}
}

// askChat sends a line to a queue that is not there, signed with a good secret or
// with another one.
func askChat(t *testing.T, endpoint, secret string, good bool) {
	t.Helper()
	client, err := mnsclient.New(mnsclient.Config{Endpoint: endpoint, KeyID: mnsKey, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Send(t.Context(), "no-such-queue", mnsclient.Outgoing{Body: "x"}); err == nil || strings.Contains(err.Error(), "Signature") == good {
		t.Errorf("the chat pipeline answers %v", err)
	}
}

// fetch gets a page of a door.
func fetch(t *testing.T, port int, path, key string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+at(port)+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := (&http.Client{Timeout: 15 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
