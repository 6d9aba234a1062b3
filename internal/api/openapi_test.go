package api

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faac1247/rollcall/protocol"
)

// operation is one call as the document has it.
type operation struct {
	method, path string
	object
	// params are those of the call and of its path, resolved.
	params []object
}

func (o operation) id() string { return o.object["operationId"].(string) }

func (o operation) has(param string) bool {
	return slices.ContainsFunc(o.params, func(p object) bool { return p["name"] == param })
}

// operations returns all calls of the document by method and path.
func (s schemas) operations() map[string]operation {
	all := make(map[string]operation)
	for path, v := range s.doc["paths"].(object) {
		item := v.(object)
		for method, o := range item {
			if method == "parameters" {
				continue
			}
			op := operation{method: strings.ToUpper(method), path: path, object: o.(object)}
			for _, from := range []any{item["parameters"], op.object["parameters"]} {
				list, _ := from.([]any)
				for _, p := range list {
					op.params = append(op.params, s.resolve(p))
				}
			}
			all[op.method+" "+path] = op
		}
	}
	return all
}

// content is the schema and the examples of a body.
type content struct {
	schema   any
	examples []any
}

// jsonContent returns what the document has of a JSON body, false for none.
func jsonContent(body object) (content, bool) {
	types, _ := body["content"].(object)
	c, ok := types["application/json"].(object)
	if !ok {
		return content{}, false
	}
	var examples []any
	if e, ok := c["example"]; ok {
		examples = append(examples, e)
	}
	named, _ := c["examples"].(object)
	for _, name := range slices.Sorted(maps.Keys(named)) {
		examples = append(examples, named[name].(object)["value"])
	}
	return content{schema: c["schema"], examples: examples}, true
}

func TestDocumentListsTheCalls(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	documented := s.operations()
	for _, r := range routes() {
		op, ok := documented[r.method+" "+r.path]
		if !ok {
			t.Errorf("%s %s is served and not documented", r.method, r.path)
			continue
		}
		if op.id() != r.call {
			t.Errorf("%s %s is %s, documented as %s", r.method, r.path, r.call, op.id())
		}
		for part := range strings.SplitSeq(r.path, "/") {
			if name := strings.Trim(part, "{}"); name != part && !op.has(name) {
				t.Errorf("%s: path parameter %s is not documented", r.call, name)
			}
		}
		delete(documented, r.method+" "+r.path)
	}
	for call := range documented {
		t.Errorf("%s is documented and not served", call)
	}
}

// protocolCodes reads the codes from the source of package protocol: Go has no
// list of a type's constants.
func protocolCodes(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../protocol/code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, word)
		return true
	})
	return codes
}

func TestDocumentListsTheCodes(t *testing.T) {
	t.Parallel()
	schema := readDocument(t)["components"].(object)["schemas"].(object)["Code"].(object)
	var listed []string
	for _, c := range schema["enum"].([]any) {
		listed = append(listed, c.(string))
	}
	// Nodes say moved to one another; a caller is told unavailable.
	want := slices.DeleteFunc(protocolCodes(t), func(c string) bool { return c == string(protocol.CodeMoved) })
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("documented codes\n     %q\nwant %q", listed, want)
	}
	for _, c := range listed {
		if !strings.Contains(schema["description"].(string), "`"+c+"`") {
			t.Errorf("%s is given no status", c)
		}
	}
	groups := strings.Split(strings.TrimPrefix(schema["description"].(string), "A stable word. "), ";")
	for _, group := range groups {
		status := strings.TrimSpace(group)[:3]
		for i, word := range strings.Split(group, "`") {
			if i%2 == 1 && strconv.Itoa(protocol.Code(word).Status()) != status {
				t.Errorf("%s is documented with status %s, and is %d", word, status, protocol.Code(word).Status())
			}
		}
	}
}

// prepared returns a door behind which all that the document's examples speak
// of is there.
func prepared(t *testing.T) *door {
	d := newDoor(t, nil)
	d.cluster.connect(1017, 1018)
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1018", "")
	d.ok(nil, "PUT", "/v1/rooms/r1/occupants/1017", `{"role":"host"}`)
	d.ok(nil, "PUT", "/v1/rooms/r1/seats/2", `{"user_id":1018}`)
	d.ok(nil, "PUT", "/v1/calls/c1", `{"caller_id":1017,"receiver_id":1018}`)
	return d
}

// target fills the path with the parameters' examples.
func (o operation) target() string {
	path := o.path
	for _, p := range o.params {
		if p["in"] == "path" {
			path = strings.ReplaceAll(path, "{"+p["name"].(string)+"}", fmt.Sprint(p["example"]))
		}
	}
	return path
}

// Every example of a request is accepted, and what is answered has the
// documented shape to the letter.
func TestDocumentedRequestsAreAccepted(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	for call, op := range s.operations() {
		if op.id() == "events" {
			continue
		}
		bodies := []string{""}
		if body, ok := op.object["requestBody"].(object); ok {
			c, _ := jsonContent(body)
			if bodies = nil; len(c.examples) == 0 {
				t.Errorf("%s: no example of a body", call)
			}
			for _, e := range c.examples {
				if faults := s.check(call+" request", c.schema, e); faults != nil {
					t.Errorf("example: %q", faults)
				}
				text, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				bodies = append(bodies, string(text))
			}
		}
		for _, body := range bodies {
			for _, volatile := range []bool{false, true} {
				d := prepared(t)
				d.cluster.volatile = volatile
				got := d.ask(op.method, op.target(), body)
				if got.status != 200 && got.status != 204 {
					t.Errorf("%s with %s: %d %s", call, body, got.status, got.body)
				}
				s.checkAnswer(t, op, got)
			}
		}
	}
}

// checkAnswer holds a real answer to the document.
func (s schemas) checkAnswer(t *testing.T, op operation, got answer) {
	t.Helper()
	what := fmt.Sprintf("%s %s: %d", op.method, op.path, got.status)
	documented, ok := op.object["responses"].(object)[strconv.Itoa(got.status)]
	if !ok {
		t.Errorf("%s is not documented (%s)", what, got.body)
		return
	}
	c, ok := jsonContent(s.resolve(documented))
	if !ok {
		if got.body != "" {
			t.Errorf("%s has a body: %s", what, got.body)
		}
		return
	}
	var v any
	if err := json.Unmarshal([]byte(got.body), &v); err != nil {
		t.Errorf("%s: %s: %v", what, got.body, err)
		return
	}
	if faults := s.check(what, c.schema, v); faults != nil {
		t.Errorf("answer %s: %q", got.body, faults)
	}
}

// The examples of answers have the shape that is documented beside them, and
// those of failures the status of their code.
func TestDocumentedAnswers(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	for call, op := range s.operations() {
		for status, v := range op.object["responses"].(object) {
			c, ok := jsonContent(s.resolve(v))
			if !ok {
				continue
			}
			if len(c.examples) == 0 {
				t.Errorf("%s: no example of %s", call, status)
			}
			for _, e := range c.examples {
				if faults := s.check(call+" "+status, c.schema, e); faults != nil {
					t.Errorf("example: %q", faults)
				}
				if status[0] == '2' {
					continue
				}
				code := protocol.Code(e.(object)["error"].(object)["code"].(string))
				if strconv.Itoa(code.Status()) != status {
					t.Errorf("%s: %s is %d, and is documented under %s", call, code, code.Status(), status)
				}
			}
		}
	}
}

// Every failure that a call can meet is documented for it.
func TestDocumentedFailures(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	for call, op := range s.operations() {
		_, takesBody := op.object["requestBody"]
		locked := newDoor(t, func(c *Config) { c.Keys = []string{"k"} })
		away := prepared(t)
		away.cluster.away = true
		narrow := newDoor(t, func(c *Config) { c.MaxBody, c.MaxBatch = 4, 4 })
		bad := prepared(t)
		asked := map[string]answer{
			"without a key": locked.ask(op.method, op.target(), ""),
			"store away":    away.ask(op.method, op.target(), ""),
		}
		if op.id() == "events" {
			asked["bad query"] = bad.ask(op.method, op.target()+"?events=x", "")
		} else {
			asked["bad path"] = bad.ask(op.method, strings.ReplaceAll(strings.ReplaceAll(op.target(), "r1", "%20"), "1017", "0"), "")
		}
		if op.has("Idempotency-Key") {
			asked["bad key"] = bad.ask(op.method, op.target(), "", "Idempotency-Key", "")
		}
		if takesBody {
			asked["bad body"] = bad.ask(op.method, op.target(), "{")
			asked["large body"] = narrow.ask(op.method, op.target(), strings.Repeat(" ", 100))
		}
		for what, got := range asked {
			if takesBody && what == "large body" && got.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, %s: %d", call, what, got.status)
			}
			s.checkAnswer(t, op, got)
		}
	}
}

// A call that takes the header says so, and no other does.
func TestDocumentedIdempotency(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	for call, op := range s.operations() {
		if op.id() == "events" {
			continue
		}
		got := prepared(t).ask(op.method, op.target(), "", "Idempotency-Key", "")
		if minds := strings.Contains(got.body, "Idempotency-Key"); minds != op.has("Idempotency-Key") {
			t.Errorf("%s: minds the header %v, documented %v", call, minds, !minds)
		}
	}
}

// What events have is documented, in the stream and in the webhook.
func TestDocumentedEvents(t *testing.T) {
	t.Parallel()
	s := schemas{readDocument(t)}
	full := protocol.Event{
		ID: "1", Event: "up", At: time.Unix(1, 0), Node: "n", UserID: 1, RoomID: "r", CallNo: "c", Seat: 1, Reason: "x",
		DepartureID: "d", Epoch: 1,
	}
	for i, v := 0, reflect.ValueOf(full); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("event without %s", v.Type().Field(i).Name)
		}
	}
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	parts := s.doc["components"].(object)["schemas"].(object)
	if faults := s.check("event", parts["Event"], v); faults != nil {
		t.Errorf("%s: %q", text, faults)
	}
	if documented := parts["Event"].(object)["properties"].(object); len(documented) != len(v.(object)) {
		t.Errorf("%d properties documented, a full event has %d", len(documented), len(v.(object)))
	}
	var names []string
	for _, n := range parts["EventName"].(object)["enum"].([]any) {
		names = append(names, n.(string))
	}
	if !slices.Equal(names, eventNames()) {
		t.Errorf("documented events %q, want %q", names, eventNames())
	}
	hook := s.doc["webhooks"].(object)["events"].(object)["post"].(object)
	c, _ := jsonContent(hook["requestBody"].(object))
	for _, e := range c.examples {
		if faults := s.check("webhook", c.schema, e); faults != nil {
			t.Errorf("example: %q", faults)
		}
	}
}

// Every schema, parameter and answer of the document is used.
func TestDocumentHasNothingUnused(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	for kind, parts := range doc["components"].(object) {
		for name := range parts.(object) {
			if kind != "securitySchemes" && !strings.Contains(string(text), `"#/components/`+kind+"/"+name+`"`) {
				t.Errorf("nothing refers to %s/%s", kind, name)
			}
		}
	}
}
