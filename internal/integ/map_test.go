package integ

import (
	"fmt"
	"go/ast"
	"go/parser"
	source "go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The package's comment maps every behaviour that clients rely on to tests that
// there are.
func TestMapOfBehavioursIsComplete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	var page string
	set := source.NewFileSet()
	for _, name := range files {
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if name == "doc.go" {
			page = file.Doc.Text()
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = true
			}
		}
	}
	mapped := map[string]bool{}
	row := ""
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		if head := regexp.MustCompile(`^\t(C\d+(, C\d+)*|vectors)`).FindString(line); head != "" {
			row = head
		}
		for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(line, -1) {
			if !tests[name] {
				t.Errorf("the map names %s, which is no test here", name)
			}
			for _, c := range regexp.MustCompile(`C\d+`).FindAllString(row, -1) {
				mapped[c] = true
			}
		}
	}
	for n := 1; n <= 23; n++ {
		// The facts leave these numbers out.
		none := n == 2 || n == 4 || n == 19
		if got := mapped[fmt.Sprintf("C%d", n)]; got == none {
			t.Errorf("C%d is in the map: %t, want %t", n, got, !none)
		}
	}
}
