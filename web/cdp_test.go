package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something to appear on a page.
const patience = 15 * time.Second

// browser is a headless Chromium, spoken to over a pipe with the DevTools
// protocol: one JSON object after another, each ended by a zero byte.
type browser struct {
	// set by newBrowser
	in io.Writer

	// guarded by mu
	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	tabs    map[string]*tab
	ended   error
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// newBrowser starts Chromium. It is gone when the test ends.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("the page tests need a browser: apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "rollcall-web-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // a helper process may still hold a file; it is a temporary one
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--disable-dev-shm-usage", "--remote-debugging-pipe", "--user-data-dir="+profile)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // the browser's descriptors 3 and 4
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &browser{in: in, waiting: make(map[int]chan message), tabs: make(map[string]*tab)}
	done := make(chan struct{})
	go func() { defer close(done); b.read(out) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its helpers too
		_ = cmd.Wait()
		_, _ = in.Close(), out.Close()
		<-done
		if t.Failed() && complaints.Len() > 0 {
			t.Logf("the browser said:\n%s", complaints.String())
		}
	})
	return b
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// read hands on what the browser says, until it is gone.
func (b *browser) read(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		raw, err := r.ReadBytes(0)
		var m message
		if err == nil {
			err = json.Unmarshal(bytes.TrimSuffix(raw, []byte{0}), &m)
		}
		b.mu.Lock()
		if err != nil {
			b.ended = fmt.Errorf("the browser is gone: %w", err)
			for _, answer := range b.waiting {
				close(answer)
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		answer, tab := b.waiting[m.ID], b.tabs[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case tab != nil && m.Method != "":
			tab.happened(m)
		}
	}
}

// call sends one command, to a tab's session or "" for the browser itself.
func (b *browser) call(ctx context.Context, session, method string, params, result any) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.ended != nil {
		defer b.mu.Unlock()
		return b.ended
	}
	b.next++
	id := b.next
	b.waiting[id] = answer
	request, err := json.Marshal(message{ID: id, SessionID: session, Method: method, Params: raw})
	if err == nil {
		_, err = b.in.Write(append(request, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser is gone", method)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}

// tab is one open page.
type tab struct {
	// set by open
	t       *testing.T
	browser *browser
	session string

	// guarded by mu
	mu     sync.Mutex
	faults []string
}

// open loads a page in a tab of its own. The test fails if the page logs an
// error, throws one, or breaks its policy.
func (b *browser) open(t *testing.T, address string) *tab {
	t.Helper()
	tb := &tab{t: t, browser: b}
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	tb.must("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	tb.must("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.mu.Lock()
	tb.session = attached.SessionID
	b.tabs[tb.session] = tb
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		tb.must(domain+".enable", map[string]any{}, nil)
	}
	// A page polls only while it can be seen; all tabs are to be taken as seen.
	tb.must("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	tb.must("Page.navigate", map[string]any{"url": address}, nil)
	t.Cleanup(func() {
		for _, f := range tb.complaints() {
			t.Errorf("%s: %s", address, f)
		}
		if t.Failed() {
			t.Logf("%s shows:\n%s", address, tb.text("body"))
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil); err != nil {
			t.Errorf("close the tab: %v", err)
		}
	})
	return tb
}

func (tb *tab) must(method string, params, result any) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.t.Context(), patience)
	defer cancel()
	if err := tb.browser.call(ctx, tb.session, method, params, result); err != nil {
		tb.t.Fatal(err)
	}
}

// happened notes what is wrong with the page. That a request failed is the
// page's business: it shows it.
func (tb *tab) happened(m message) {
	var p struct {
		Type  string
		Args  []struct{ Value, Description any }
		Entry struct{ Source, Level, Text string }

		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	fault := ""
	switch err := json.Unmarshal(m.Params, &p); {
	case err != nil:
		fault = err.Error()
	case m.Method == "Runtime.exceptionThrown":
		fault = p.ExceptionDetails.Text + " " + p.ExceptionDetails.Exception.Description
	case m.Method == "Runtime.consoleAPICalled" && p.Type == "error":
		fault = fmt.Sprintf("console: %v", p.Args)
	case m.Method == "Log.entryAdded" && p.Entry.Source != "network" && p.Entry.Level == "error":
		fault = p.Entry.Source + ": " + p.Entry.Text
	}
	if fault == "" {
		return
	}
	tb.mu.Lock()
	tb.faults = append(tb.faults, fault)
	tb.mu.Unlock()
}

func (tb *tab) complaints() []string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return append([]string(nil), tb.faults...)
}

// eval returns the value of an expression, of its promise if it is one.
func (tb *tab) eval(expression string) (any, error) {
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Second)
	defer cancel()
	err := tb.browser.call(ctx, tb.session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if err == nil && answer.ExceptionDetails != nil {
		err = errors.New(answer.ExceptionDetails.Text + " " + answer.ExceptionDetails.Exception.Description)
	}
	return answer.Result.Value, err
}

// do runs statements in the page.
func (tb *tab) do(statements string) {
	tb.t.Helper()
	if _, err := tb.eval("(async () => {" + statements + "})()"); err != nil {
		tb.t.Fatalf("%s: %v", statements, err)
	}
}

// until waits until a condition holds in the page.
func (tb *tab) until(condition string) {
	tb.t.Helper()
	held, err := tb.eval(fmt.Sprintf(`new Promise((resolve) => {
		const end = Date.now() + %d;
		const look = () => {
			let held = false;
			try { held = Boolean(%s); } catch { /* what it is about is not there yet */ }
			if (held || Date.now() > end) resolve(held);
			else setTimeout(look, 20);
		};
		look();
	})`, patience.Milliseconds(), condition))
	if err != nil || held != true {
		tb.t.Fatalf("never came true: %s (%v)", condition, err)
	}
}

// shows waits until what a selector finds has a text in it.
func (tb *tab) shows(selector, text string) {
	tb.t.Helper()
	tb.until(fmt.Sprintf("[...document.querySelectorAll(%s)].some((e) => e.innerText.includes(%s))", quote(selector), quote(text)))
}

// click presses the first of what a selector finds that has a text in it.
func (tb *tab) click(selector, text string) {
	tb.t.Helper()
	which := fmt.Sprintf("[...document.querySelectorAll(%s)].find((e) => !e.disabled && e.innerText.includes(%s))", quote(selector), quote(text))
	tb.until(which)
	tb.do(which + ".click();")
}

// ground returns the page's colour for readers who prefer a scheme.
func (tb *tab) ground(scheme string) any {
	tb.t.Helper()
	tb.must("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	colour, err := tb.eval(`getComputedStyle(document.body).backgroundColor`)
	if err != nil {
		tb.t.Fatal(err)
	}
	return colour
}

func (tb *tab) text(selector string) string {
	text, err := tb.eval(fmt.Sprintf("document.querySelector(%s).innerText", quote(selector)))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(text)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// waitFor waits until something holds that no page shows.
func waitFor(t *testing.T, what string, held func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	end := time.After(patience)
	for !held() {
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
