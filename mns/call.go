package mns

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/wire"
)

// call is one request on its way through the server, and its answer. It is
// reused: nobody may keep it, its body or its document.
type call struct {
	http  *http.Request
	id    string
	key   *Key
	names names
	query query
	body  bytes.Buffer
	// arrived: the body is there.
	arrived bool

	// the answer
	status   int
	location bool     // answer where the thing is that the request names
	before   []string // of the names of a publication
	doc      wire.Writer
	// undelivered, if set, undoes what only makes sense to a client that is
	// still there.
	undelivered func()
}

func (c *call) reset() {
	if c.body.Cap() > maxPooled {
		c.body = bytes.Buffer{}
	}
	c.body.Reset()
	c.doc.Reset()
	*c = call{body: c.body, doc: c.doc}
}

// maxPooled is the largest body whose memory is kept for another call.
const maxPooled = 128 << 10

func (c *call) ctx() context.Context { return c.http.Context() }

// created answers that something was made, or was there and is the same.
func (c *call) created(made bool) {
	c.location = true
	c.status = http.StatusNoContent
	if made {
		c.status = http.StatusCreated
	}
}

// read reads the body. Nothing slow comes before it, as a client that asked for
// a 100 Continue gets it here.
func (c *call) read(w http.ResponseWriter, limit int, timeout time.Duration) error {
	if c.arrived || c.http.Body == nil || c.http.ContentLength == 0 {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(timeout)) // a test's recorder has none
	if _, err := c.body.ReadFrom(http.MaxBytesReader(w, c.http.Body, int64(limit))); err != nil {
		// The deadline stays: the server reads what is left of a body.
		return chat.ErrInvalidArgument.With("The body could not be read, or is longer than %d bytes.", limit)
	}
	_ = control.SetReadDeadline(time.Time{}) // the call may wait for a message
	return nil
}

// page reads which part of a list is wanted.
func (c *call) page() (chat.Page, error) {
	h := c.http.Header
	p := chat.Page{Prefix: h.Get("X-Mns-Prefix"), After: h.Get("X-Mns-Marker"), Limit: maxPage}
	if text := h.Get("X-Mns-Ret-Number"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return p, chat.OutOfRange("x-mns-ret-number", 1, maxPage, "")
		}
		p.Limit = n
	}
	return p, nil
}

// maxPage is how many names a page has at most.
const maxPage = 1000

// withMeta reports whether a list is wanted with attributes.
func (c *call) withMeta() bool {
	return strings.EqualFold(c.http.Header.Get("X-Mns-With-Meta"), "true")
}

// place returns the address of what the request names.
func (c *call) place() string {
	path, _, _ := strings.Cut(c.http.RequestURI, "?")
	return c.url(path)
}

// url returns the absolute address of a path here, as the client sees us.
func (c *call) url(path string) string {
	scheme := "http://"
	if c.http.TLS != nil {
		scheme = "https://"
	}
	return scheme + c.http.Host + path
}

// send writes the answer, and reports whether it went out.
func (c *call) send(w http.ResponseWriter) bool {
	if c.ctx().Err() != nil {
		return false
	}
	h := w.Header()
	h["X-Mns-Request-Id"] = []string{c.id}
	h["X-Mns-Version"] = headerVersion
	h["Server"] = headerServer
	if c.location {
		h["Location"] = []string{c.place()}
	}
	body := c.doc.Bytes()
	if len(body) == 0 {
		w.WriteHeader(c.status)
		return true
	}
	h["Content-Type"] = headerXML
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(c.status)
	if _, err := w.Write(body); err != nil {
		return false
	}
	if c.undelivered == nil {
		return true
	}
	return http.NewResponseController(w).Flush() == nil
}

// The values of headers that never change.
var (
	headerVersion = []string{version}
	headerServer  = []string{serverName}
	headerXML     = []string{xmlType}
)

const (
	serverName = "rollcall"
	xmlType    = "text/xml;charset=utf-8"
)

// fault replaces the answer by an error's document.
func (c *call) fault(err error) *chat.Error {
	e := chat.AsError(err)
	c.status, c.location, c.undelivered = e.Status, false, nil
	c.doc.Reset()
	c.doc.Error(e, c.id, "http://"+c.http.Host, c.before)
	return e
}
