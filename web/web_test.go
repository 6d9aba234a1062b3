package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readStatic returns the embedded files by the path that they are served at.
func readStatic(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		files["/"+name] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func get(t *testing.T, method, target string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w
}

func TestHandlerServesThePages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, target string
		status         int
		kind, contains string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<title>Rollcall</title>"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"GET", "/demo", 200, "text/html; charset=utf-8", "demo room</title>"},
		{"GET", "/static/css/base.css", 200, "text/css; charset=utf-8", "color-scheme"},
		{"GET", "/static/js/dom.js", 200, "text/javascript; charset=utf-8", "export function h"},
		{"GET", "/static/favicon.svg", 200, "image/svg+xml", "<svg"},
		{"GET", "/static/", 404, "", ""},
		{"GET", "/static/js", 404, "", ""},
		{"GET", "/static/../web.go", 307, "", "/web.go"}, // which is not there
		{"GET", "/index.html", 404, "", ""},
		{"GET", "/nothing", 404, "", ""},
		{"POST", "/", 405, "", ""},
	} {
		w := get(t, tt.method, tt.target, nil)
		if w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, w.Code, tt.status)
			continue
		}
		if kind := w.Header().Get("Content-Type"); tt.status == 200 && kind != tt.kind {
			t.Errorf("%s %s: Content-Type %q, want %q", tt.method, tt.target, kind, tt.kind)
		}
		if !strings.Contains(w.Body.String(), tt.contains) {
			t.Errorf("%s %s: the body has no %q", tt.method, tt.target, tt.contains)
		}
	}
}

func TestEveryAnswerIsSecured(t *testing.T) {
	t.Parallel()
	for target, connect := range map[string]string{
		"/": "'self'", "/demo": "'self' ws: wss:", "/static/js/dom.js": "'self'", "/nothing": "'self'",
	} {
		h := get(t, "GET", target, nil).Header()
		policy := strings.Split(h.Get("Content-Security-Policy"), "; ")
		for _, want := range []string{"default-src 'self'", "connect-src " + connect, "frame-ancestors 'none'"} {
			if !slices.Contains(policy, want) {
				t.Errorf("%s: the policy %q has no %q", target, policy, want)
			}
		}
		if h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", target, h.Get("X-Content-Type-Options"))
		}
	}
}

func TestUnchangedFilesAreNotSentAgain(t *testing.T) {
	t.Parallel()
	first := get(t, "GET", "/demo", nil)
	tag := first.Header().Get("ETag")
	if tag == "" || first.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %q, Cache-Control %q", tag, first.Header().Get("Cache-Control"))
	}
	if w := get(t, "GET", "/demo", http.Header{"If-None-Match": {tag}}); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("asked with its own tag: status %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := get(t, "GET", "/demo", http.Header{"If-None-Match": {`"other"`}}); w.Code != http.StatusOK {
		t.Errorf("asked with another tag: status %d", w.Code)
	}
}

// reference finds what a file loads: by attribute, import or constructor.
var reference = regexp.MustCompile(`(?:href|src)="([^"#]+)"|(?:from|import) ?"([./][^"]+)"|new Worker\("([^"]+)"`)

// TestReferences walks from both pages through all that they load: each file
// is there, and none is there in vain.
func TestReferences(t *testing.T) {
	t.Parallel()
	files := readStatic(t)
	reached := make(map[string]bool)
	waiting := []string{"/static/index.html", "/static/demo.html"}
	for len(waiting) > 0 {
		name := waiting[0]
		waiting = waiting[1:]
		if reached[name] {
			continue
		}
		reached[name] = true
		for _, m := range reference.FindAllStringSubmatch(files[name], -1) {
			to := m[1] + m[2] + m[3]
			if strings.HasPrefix(to, ".") {
				to = path.Join(path.Dir(name), to)
			}
			if to == "/" || to == "/demo" {
				continue
			}
			if _, ok := files[to]; !ok {
				t.Errorf("%s refers to %s, which is not there", name, to)
				continue
			}
			waiting = append(waiting, to)
		}
	}
	for name := range files {
		if !reached[name] {
			t.Errorf("nothing refers to %s", name)
		}
	}
}

// TestNothingComesFromElsewhere looks for addresses of other hosts, and for
// what the policy would not let run.
func TestNothingComesFromElsewhere(t *testing.T) {
	t.Parallel()
	foreign := regexp.MustCompile(`(?i)(?:https?|wss?):?//[^\s"'<>` + "`" + `]+|["'(]//[a-z0-9]`)
	inline := regexp.MustCompile(`(?i)<script(?:>| [^>]*[^>]>[^<])|<style|\sstyle=|\son[a-z]+="|javascript:|data:[a-z]+/|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import|(?-i:\burl\()`)
	for name, body := range readStatic(t) {
		for _, found := range foreign.FindAllString(body, -1) {
			if found != "http://www.w3.org/2000/svg" { // the name of a namespace, which nobody fetches
				t.Errorf("%s refers to %s", name, found)
			}
		}
		if found := inline.FindString(body); found != "" {
			t.Errorf("%s has %q, which the policy forbids or which lets text become markup", name, found)
		}
	}
}
