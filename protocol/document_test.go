package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docRow is one line of a table: its cells, without the space around them.
type docRow []string

var backticked = regexp.MustCompile("`([^`]*)`")

// word returns the contents of the first backticks of a cell.
func (r docRow) word(cell int) string {
	if m := backticked.FindStringSubmatch(r[cell]); m != nil {
		return m[1]
	}
	return ""
}

// words returns the contents of all backticks of a cell.
func (r docRow) words(cell int) []string {
	var words []string
	for _, m := range backticked.FindAllStringSubmatch(r[cell], -1) {
		words = append(words, m[1])
	}
	return words
}

// docTables returns the rows of all tables of each section of the document.
func docTables(t *testing.T) map[string][]docRow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]docRow{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = title
		}
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		var row docRow
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		tables[section] = append(tables[section], row)
	}
	return tables
}

// constants returns the values of all constants of this package that are
// declared with the named type.
func constants(t *testing.T, typeName string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if id, ok := spec.Type.(*ast.Ident); ok && id.Name == typeName {
				for _, v := range spec.Values {
					value := v.(*ast.BasicLit).Value
					if unquoted, err := strconv.Unquote(value); err == nil {
						value = unquoted
					}
					values = append(values, value)
				}
			}
			return true
		})
	}
	slices.Sort(values)
	return values
}

// compareSets reports what one of two sorted lists has and the other has not.
func compareSets(t *testing.T, what string, document, code []string) {
	t.Helper()
	for _, v := range document {
		if !slices.Contains(code, v) {
			t.Errorf("%s %q is in the document and not in the code", what, v)
		}
	}
	for _, v := range code {
		if !slices.Contains(document, v) {
			t.Errorf("%s %q is in the code and not in the document", what, v)
		}
	}
}

func TestDocumentActions(t *testing.T) {
	t.Parallel()
	tables := docTables(t)
	var client, server, understood []string
	for _, row := range tables["Frames of clients"] {
		client = append(client, row.word(0))
	}
	for _, row := range tables["Frames of the server"] {
		server = append(server, row.word(0))
	}
	all := slices.DeleteFunc(constants(t, "Action"), func(a string) bool { return Action(a) == ActionUnknown })
	for _, a := range all {
		if clientAction([]byte(a)) != ActionUnknown {
			understood = append(understood, a)
		}
	}
	compareSets(t, "a client's action", client, understood)
	compareSets(t, "the action", slices.Concat(client, server), all)
	if len(client) < 19 || len(server) < 14 {
		t.Errorf("found %d actions of clients and %d of the server: the tables moved", len(client), len(server))
	}
}

// TestDocumentClientActions holds the two halves of the clients' table, and
// what counts as a receipt, to the code.
func TestDocumentClientActions(t *testing.T) {
	t.Parallel()
	for _, row := range docTables(t)["Frames of clients"] {
		a := Action(row.word(0))
		receipt := strings.Contains(row[2], "receipt") || strings.Contains(row[2], "the same") || strings.Contains(row[2], "link")
		if a.Receipt() != receipt {
			t.Errorf("%s: receipt is %v", a, a.Receipt())
		}
		fields := row.words(1)
		privileged := slices.Contains(fields, "room_id") && a != ActionSync
		if a.Privileged() != privileged {
			t.Errorf("%s: privileged is %v", a, a.Privileged())
		}
	}
}

func TestDocumentServerFields(t *testing.T) {
	t.Parallel()
	always, ever := map[string][]string{}, map[string][]string{}
	for _, encode := range slices.Concat(slices.Collect(maps.Values(encoders())), sparseEncoders()) {
		o, err := ParseObject(encode(nil))
		if err != nil {
			t.Fatal(err)
		}
		action, _ := o.Field("action").Text()
		var fields []string
		var m members
		for m.trust(o.Raw()); m.next(); {
			if name := string(m.plainName()); name != "action" {
				fields = append(fields, name)
			}
		}
		missing := func(f string) bool { return !slices.Contains(fields, f) }
		if _, ok := always[action]; !ok {
			always[action] = slices.Clone(fields)
		}
		always[action] = slices.DeleteFunc(always[action], missing)
		ever[action] = append(ever[action], fields...)
	}
	for _, row := range docTables(t)["Frames of the server"] {
		action := row.word(0)
		if ever[action] == nil {
			continue // published by the backend; the server has no encoder
		}
		var required []string
		for _, m := range regexp.MustCompile("`([^`]*)`([?]?)").FindAllStringSubmatch(row[1], -1) {
			if m[2] == "" {
				required = append(required, m[1])
			}
		}
		compareSets(t, action+"'s field", row.words(1), ever[action])
		compareSets(t, action+"'s field, in every frame,", required, always[action])
		delete(ever, action)
	}
	for action := range ever {
		t.Errorf("%s has an encoder and no line in the document", action)
	}
}

// sparseEncoders returns encoders of frames that lack all that they may lack.
func sparseEncoders() []func([]byte) []byte {
	return []func([]byte) []byte{
		func(dst []byte) []byte { return AppendCreateToken(dst, CreateToken{}) },
		func(dst []byte) []byte { return AppendExitRoom(dst, ExitRoom{}) },
		func(dst []byte) []byte { return AppendPresence(dst, Presence{CountOnly: true}) },
		func(dst []byte) []byte { return AppendResync(dst, &RoomView{}) },
		func(dst []byte) []byte { return AppendError(dst, ActionUp, "", CodeBadRequest, "") },
	}
}

func TestDocumentCodes(t *testing.T) {
	t.Parallel()
	var codes []string
	for _, row := range docTables(t)["Codes"] {
		code := row.word(0)
		codes = append(codes, code)
		if want := strconv.Itoa(Code(code).Status()); row[1] != want {
			t.Errorf("%s has status %s in the document and %s in the code", code, row[1], want)
		}
	}
	compareSets(t, "code", codes, constants(t, "Code"))
}

func TestDocumentCloseCodes(t *testing.T) {
	t.Parallel()
	var codes []string
	for _, row := range docTables(t)["Close codes"] {
		n, err := strconv.ParseUint(row.word(0), 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		code := CloseCode(n)
		codes = append(codes, row.word(0))
		if row.word(1) != code.Reason() {
			t.Errorf("%d has reason %q in the document and %q in the code", code, row.word(1), code.Reason())
		}
		if strings.HasPrefix(row[2], "reconnects") != code.Reconnect() {
			t.Errorf("%d: the code says reconnect %v, the document %q", code, code.Reconnect(), row[2])
		}
	}
	compareSets(t, "close code", codes, constants(t, "CloseCode"))
}

func TestDocumentSignatures(t *testing.T) {
	t.Parallel()
	rows := docTables(t)["Signatures"]
	if len(rows) != 3 {
		t.Fatalf("%d vectors", len(rows))
	}
	for _, row := range rows {
		text := row.word(0)
		if canonical, err := AppendCanonical(nil, []byte(text)); err != nil || string(canonical) != text {
			t.Errorf("%s: canonical text is %s, %v", text, canonical, err)
		}
		signed, err := AppendSigned(nil, []byte(text), row.word(1))
		if err != nil || !strings.Contains(string(signed), row.word(2)) {
			t.Errorf("%s: signed as %s, %v", text, signed, err)
		}
	}
}
