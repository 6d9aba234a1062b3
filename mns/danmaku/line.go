package danmaku

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/faac1247/rollcall/mns/chat"
	"github.com/faac1247/rollcall/mns/mnsclient"
)

// line is one message of the queue.
type line struct {
	id       chat.MessageID
	handle   string
	body     string
	text     string // what viewers read
	user     string // empty where nobody is named
	priority chat.Priority
	sent     time.Time
}

func (w *Worker) newLine(m mnsclient.Message) line {
	l := line{id: m.ID, handle: m.Handle, body: m.Body, text: m.Body, priority: m.Priority, sent: m.Enqueued}
	object := decodeObject(m.Body)
	if object == nil {
		return l
	}
	if text, ok := find(object, w.cfg.TextPaths); ok {
		l.text = text
	}
	l.user, _ = find(object, w.cfg.UserPaths)
	return l
}

// decodeObject reads a body that is a JSON object, and returns nil for others.
func decodeObject(body string) map[string]any {
	if !strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var object map[string]any
	if d.Decode(&object) != nil || d.More() {
		return nil
	}
	return object
}

// find returns the text or number at the first path that is there.
func find(object map[string]any, paths []string) (string, bool) {
	for _, path := range paths {
		var at any = object
		for name := range strings.SplitSeq(path, ".") {
			o, ok := at.(map[string]any)
			if !ok {
				at = nil
				break
			}
			at = o[name]
		}
		switch v := at.(type) {
		case string:
			return v, true
		case json.Number:
			return v.String(), true
		}
	}
	return "", false
}

// counted returns a body that says for how many lines it stands. A JSON object
// keeps its text, but for the field at its end.
func counted(body, field string, n int) string {
	if n == 1 {
		return body
	}
	object := decodeObject(body)
	if object == nil {
		return body + " ×" + strconv.Itoa(n)
	}
	if _, ok := object[field]; ok {
		object[field] = n
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if e.Encode(object) != nil {
			return body
		}
		return strings.TrimSuffix(b.String(), "\n")
	}
	name, err := json.Marshal(field)
	if err != nil {
		return body
	}
	head := strings.TrimRight(body, " \t\r\n")
	head = strings.TrimRight(strings.TrimSuffix(head, "}"), " \t\r\n")
	if len(object) > 0 {
		head += ","
	}
	return head + string(name) + ":" + strconv.Itoa(n) + "}"
}
