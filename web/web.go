// Package web is the dashboard and the demo room, embedded: pages that talk to
// the operator's door they came from. It has no build step, loads nothing from
// elsewhere and starts no goroutine.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed static
var static embed.FS

// Handler serves the dashboard at /, the demo room at /demo, and what they are
// made of under /static/. The files hold nothing secret: what they show, they
// ask for.
func Handler() http.Handler {
	files := make(map[string]file)
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		files["/"+name] = file{name: path.Base(name), body: body, tag: fmt.Sprintf(`"%x"`, sha256.Sum256(body))}
		return err
	})
	if err != nil {
		panic("the pages are embedded: " + err.Error())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", files["/static/index.html"])
	// The demo room alone opens websockets, to the node that end_point names. The
	// policy can't name it: nodes that are not there yet may be the answer to a
	// page that has been open for long.
	mux.Handle("GET /demo", allowed(files["/static/demo.html"], "'self' ws: wss:"))
	mux.HandleFunc("GET /static/", func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f.ServeHTTP(w, r)
	})
	return secured(mux)
}

// file is one embedded file. It has no date, so its tag tells a browser whether
// the copy it holds is still the same.
type file struct {
	name string
	body []byte
	tag  string
}

func (f file) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.tag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
}

// secured lets a page load nothing but what is embedded, and talk to nothing
// but this door.
func secured(next http.Handler) http.Handler {
	next = allowed(next, "'self'")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// allowed names where a page may connect to.
func allowed(next http.Handler, connect string) http.Handler {
	policy := "default-src 'self'; connect-src " + connect + "; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		next.ServeHTTP(w, r)
	})
}
