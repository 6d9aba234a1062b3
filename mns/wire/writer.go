package wire

import "strconv"

// Namespace is that of every document. With a slash at its end, as the public
// documents print it, the Java SDK cannot read an error.
const Namespace = "http://mns.aliyuncs.com/doc/v1"

// Writer lays out one document. The zero value is ready.
type Writer struct {
	buf []byte
}

// Reset empties the writer and keeps its memory.
func (w *Writer) Reset() { w.buf = w.buf[:0] }

// Bytes returns what was written. It is valid until the next use.
func (w *Writer) Bytes() []byte { return w.buf }

// Start begins the document with its outermost element.
func (w *Writer) Start(name string) {
	w.buf = append(w.buf, `<?xml version="1.0" encoding="UTF-8"?><`...)
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, ` xmlns="`+Namespace+`">`...)
}

// Open begins an element, End ends one.
func (w *Writer) Open(name string) {
	w.buf = append(w.buf, '<')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '>')
}

// End ends an element that Start or Open began.
func (w *Writer) End(name string) {
	w.buf = append(w.buf, '<', '/')
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, '>')
}

// Text writes an element with text, and nothing at all without: some SDKs
// cannot read an empty element.
func (w *Writer) Text(name, text string) {
	if text == "" {
		return
	}
	w.Open(name)
	w.buf = AppendText(w.buf, text)
	w.End(name)
}

// Int writes an element with a number.
func (w *Writer) Int(name string, n int64) {
	w.Open(name)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.End(name)
}

// Bool writes an element with True or False, which is what SDKs compare with.
func (w *Writer) Bool(name string, v bool) {
	if v {
		w.Text(name, "True")
	} else {
		w.Text(name, "False")
	}
}

// Raw appends what is XML already.
func (w *Writer) Raw(xml string) { w.buf = append(w.buf, xml...) }

// AppendNode appends an element as it was read.
func AppendNode(dst []byte, n *Node) []byte {
	dst = append(dst, '<')
	dst = append(dst, n.Name...)
	dst = append(dst, '>')
	dst = AppendText(dst, n.Text)
	for i := range n.Children {
		dst = AppendNode(dst, &n.Children[i])
	}
	dst = append(dst, '<', '/')
	dst = append(dst, n.Name...)
	return append(dst, '>')
}
