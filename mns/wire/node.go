package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/faac1247/rollcall/mns/chat"
)

const (
	maxDepth = 16
	maxNodes = 4096
)

// Node is an element: its local name, and either its text or its children.
type Node struct {
	Name     string
	Text     string // without children only; verbatim, references resolved
	Children []Node
}

// Child returns the first child of that name, or nil.
func (n *Node) Child(name string) *Node {
	for i := range n.Children {
		if n.Children[i].Name == name {
			return &n.Children[i]
		}
	}
	return nil
}

// Parse reads a document. Every fault is chat.ErrMalformedXML.
func Parse(doc []byte) (*Node, error) {
	if !utf8.Valid(doc) {
		return nil, chat.ErrMalformedXML
	}
	p := parser{text: strings.TrimPrefix(string(doc), "\ufeff")}
	if !p.prolog() || !p.misc() {
		return nil, chat.ErrMalformedXML
	}
	var root Node
	if !p.element(&root, 1) || !p.misc() || p.at != len(p.text) {
		return nil, chat.ErrMalformedXML
	}
	return &root, nil
}

// parser is a position in a document. Its methods move on and report whether
// the document is well-formed so far.
type parser struct {
	text  string
	at    int
	nodes int
}

func (p *parser) rest() string { return p.text[p.at:] }

func (p *parser) accept(s string) bool {
	if !strings.HasPrefix(p.rest(), s) {
		return false
	}
	p.at += len(s)
	return true
}

// until moves past the next mark and returns what was before it.
func (p *parser) until(mark string) (string, bool) {
	i := strings.Index(p.rest(), mark)
	if i < 0 {
		return "", false
	}
	s := p.text[p.at : p.at+i]
	p.at += i + len(mark)
	return s, true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (p *parser) space() {
	for p.at < len(p.text) && isSpace(p.text[p.at]) {
		p.at++
	}
}

// prolog skips the XML declaration, which must not name another encoding.
func (p *parser) prolog() bool {
	if !strings.HasPrefix(p.rest(), "<?xml ") {
		return true
	}
	decl, ok := p.until("?>")
	if !ok {
		return false
	}
	_, encoding, named := strings.Cut(decl, "encoding")
	if !named {
		return true
	}
	encoding = strings.ToUpper(strings.Trim(encoding, " \t\r\n=?"))
	for _, known := range []string{"UTF-8", "UTF8", "US-ASCII"} {
		for _, quote := range []string{`"`, "'"} {
			if strings.HasPrefix(encoding, quote+known+quote) {
				return true
			}
		}
	}
	return false
}

// misc skips white space, comments and processing instructions. A document type
// stays, and is no element.
func (p *parser) misc() bool {
	for {
		p.space()
		switch {
		case p.accept("<!--"):
			if !p.comment() {
				return false
			}
		case p.accept("<?"):
			if _, ok := p.until("?>"); !ok {
				return false
			}
		default:
			return true
		}
	}
}

func (p *parser) comment() bool {
	text, ok := p.until("--")
	return ok && legal(text) && p.accept(">")
}

// element reads an element from its '<' to the end of its end tag.
func (p *parser) element(n *Node, depth int) bool {
	if p.nodes++; depth > maxDepth || p.nodes > maxNodes || !p.accept("<") {
		return false
	}
	full, ok := p.name()
	if !ok {
		return false
	}
	n.Name = local(full)
	empty, ok := p.attributes()
	if !ok || empty {
		return ok
	}
	if !p.content(n, depth) || !p.accept("</"+full) {
		return false
	}
	p.space()
	return p.accept(">")
}

// content reads up to the end tag. White space between elements is dropped;
// text beside elements is no document of ours.
func (p *parser) content(n *Node, depth int) bool {
	var text strings.Builder
	for {
		i := strings.IndexByte(p.rest(), '<')
		if i < 0 {
			return false
		}
		if plain := p.text[p.at : p.at+i]; text.Len() == 0 && len(n.Children) == 0 && strings.HasPrefix(p.text[p.at+i:], "</") &&
			strings.IndexByte(plain, '&') < 0 {
			p.at += i // what most elements are, for less
			n.Text = plain
			return legalText(plain)
		}
		if !unescape(&text, p.text[p.at:p.at+i]) {
			return false
		}
		p.at += i
		switch rest := p.rest(); {
		case strings.HasPrefix(rest, "</"):
			if len(n.Children) == 0 {
				n.Text = text.String()
				return true
			}
			return strings.TrimLeft(text.String(), " \t\r\n") == ""
		case p.accept("<!--"):
			if !p.comment() {
				return false
			}
		case p.accept("<![CDATA["):
			data, ok := p.until("]]>")
			if !ok || !legal(data) {
				return false
			}
			text.WriteString(data)
		case p.accept("<?"):
			if _, ok := p.until("?>"); !ok {
				return false
			}
		default:
			var child Node
			if !p.element(&child, depth+1) {
				return false
			}
			if n.Children == nil {
				n.Children = make([]Node, 0, 4)
			}
			n.Children = append(n.Children, child)
		}
	}
}

// attributes skips to the end of a start tag and reports whether it is empty.
func (p *parser) attributes() (empty, ok bool) {
	for {
		before := p.at
		p.space()
		switch {
		case p.accept("/>"):
			return true, true
		case p.accept(">"):
			return false, true
		case p.at == before:
			return false, false
		}
		if _, ok := p.name(); !ok {
			return false, false
		}
		p.space()
		if !p.accept("=") {
			return false, false
		}
		p.space()
		if p.at == len(p.text) {
			return false, false
		}
		quote := p.text[p.at : p.at+1]
		if quote != `"` && quote != "'" {
			return false, false
		}
		p.at++
		value, found := p.until(quote)
		var sink strings.Builder
		if !found || strings.Contains(value, "<") || !unescape(&sink, value) {
			return false, false
		}
	}
}

func (p *parser) name() (string, bool) {
	start := p.at
	for p.at < len(p.text) && isNameByte(p.text[p.at], p.at == start) {
		p.at++
	}
	return p.text[start:p.at], p.at > start
}

func isNameByte(c byte, first bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == ':', c >= utf8.RuneSelf:
		return true
	default:
		return !first && (c >= '0' && c <= '9' || c == '-' || c == '.')
	}
}

func local(name string) string {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[i+1:]
	}
	return name
}
