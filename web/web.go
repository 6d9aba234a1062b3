// Package web is the dashboard and the demo room, embedded: pages that talk to
// the operator's door they came from. It has no build step and fetches nothing
// from elsewhere.
package web

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed static
var static embed.FS

// Handler serves the dashboard at / and the demo room at /demo.
func Handler() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic("the pages are embedded: " + err.Error())
	}
	server := http.FileServerFS(files)
	mux := http.NewServeMux()
	mux.Handle("/", server)
	mux.HandleFunc("GET /demo", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "demo.html")
	})
	return secured(mux)
}

// secured lets a page load nothing but what is embedded, and talk to nothing
// but this machine's doors.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
