package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Code that says it is hot says which benchmark guards it, and there is one.
func TestHotCodeIsGuarded(t *testing.T) {
	t.Parallel()
	declared, hot := map[string]bool{}, map[string]string{}
	comment, name := regexp.MustCompile(`(?m)^// Hot:(?:.*\n//)*.*`), regexp.MustCompile(`Benchmark\w+`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, found := range regexp.MustCompile(`(?m)^func (Benchmark\w+)\(`).FindAllSubmatch(body, -1) {
				declared[string(found[1])] = true
			}
			return nil
		}
		for _, text := range comment.FindAllString(string(body), -1) {
			hot[path+": "+text] = text
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(hot) < 15 {
		t.Errorf("%d places say that they are hot", len(hot))
	}
	for where, text := range hot {
		named := name.FindAllString(text, -1)
		if len(named) == 0 {
			t.Errorf("%s: names no benchmark", where)
		}
		for _, b := range named {
			if !declared[b] {
				t.Errorf("%s: there is no %s", where, b)
			}
		}
	}
}
