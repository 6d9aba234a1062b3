package wire

import (
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
)

// fields reads an element's children. The first fault is kept as err.
type fields struct {
	node *Node
	err  error
}

// open parses a body whose outermost element is name.
func open(body []byte, name string) *fields {
	n, err := Parse(body)
	if err != nil {
		return &fields{node: &Node{}, err: err}
	}
	f := &fields{node: n}
	if n.Name != name {
		f.fail(chat.Malformed(n.Name))
	}
	return f
}

// openOptional is open for requests that mean something without a body.
func openOptional(body []byte, name string) *fields {
	if strings.TrimSpace(string(body)) == "" {
		return &fields{node: &Node{Name: name}}
	}
	return open(body, name)
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// text returns a child's text and whether there is one with any.
func (f *fields) text(name string) (string, bool) {
	c := f.node.Child(name)
	if c == nil {
		return "", false
	}
	if len(c.Children) > 0 {
		f.fail(chat.Malformed(name))
		return "", false
	}
	return c.Text, c.Text != ""
}

// word is text without the white space around it.
func (f *fields) word(name string) (string, bool) {
	s, _ := f.text(name)
	s = strings.TrimSpace(s)
	return s, s != ""
}

// outlandish stands for numbers that are out of every range.
const outlandish = 1 << 31

func (f *fields) int(name string) *int {
	s, ok := f.word(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && !isRange(err) {
		f.fail(chat.Malformed(name))
		return nil
	}
	v := int(min(max(n, -outlandish), outlandish))
	return &v
}

func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

func (f *fields) seconds(name string) *time.Duration {
	n := f.int(name)
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * time.Second
	return &d
}

func (f *fields) bool(name string) *bool {
	s, ok := f.word(name)
	if !ok {
		return nil
	}
	v := strings.EqualFold(s, "true")
	if !v && !strings.EqualFold(s, "false") {
		f.fail(chat.Malformed(name))
		return nil
	}
	return &v
}
