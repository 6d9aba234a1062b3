package api

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// object is a part of the document, or of an answer: what encoding/json decodes
// into an any.
type object = map[string]any

// readDocument reads docs/openapi.yaml, with numbers as encoding/json has them.
func readDocument(t *testing.T) object {
	t.Helper()
	raw, err := os.ReadFile("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree, doc object
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// schemas checks values against the document's schemas. An object may have no
// property that is not documented, unless additionalProperties says so; and a
// keyword that it does not know is an error, lest one be trusted in vain.
type schemas struct{ doc object }

// resolve follows a $ref.
func (s schemas) resolve(v any) object {
	o := v.(object)
	for o["$ref"] != nil {
		part := s.doc
		for _, name := range strings.Split(strings.TrimPrefix(o["$ref"].(string), "#/"), "/") {
			next, ok := part[name].(object)
			if !ok {
				panic("the document has no " + o["$ref"].(string))
			}
			part = next
		}
		o = part
	}
	return o
}

// check returns every fault of v as a value of the schema.
func (s schemas) check(at string, schema, v any) []string {
	o := s.resolve(schema)
	if alternatives, ok := o["oneOf"].([]any); ok {
		return s.checkOneOf(at, alternatives, v)
	}
	if !hasType(o["type"], v) {
		return []string{fmt.Sprintf("%s: %v is no %v", at, v, o["type"])}
	}
	var faults []string
	for keyword, rule := range o {
		if fault := checkKeyword(keyword, rule, v); fault != "" {
			faults = append(faults, at+": "+fault)
		}
	}
	switch v := v.(type) {
	case object:
		faults = append(faults, s.checkObject(at, o, v)...)
	case []any:
		for i := range v {
			faults = append(faults, s.check(fmt.Sprintf("%s[%d]", at, i), o["items"], v[i])...)
		}
	}
	return faults
}

func (s schemas) checkOneOf(at string, alternatives []any, v any) []string {
	var faults []string
	fitting := 0
	for _, a := range alternatives {
		f := s.check(at, a, v)
		if f == nil {
			fitting++
		}
		faults = append(faults, f...)
	}
	if fitting == 1 {
		return nil
	}
	return append(faults, fmt.Sprintf("%s: fits %d alternatives", at, fitting))
}

func (s schemas) checkObject(at string, schema, v object) []string {
	var faults []string
	properties, _ := schema["properties"].(object)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			faults = append(faults, fmt.Sprintf("%s: no %s", at, name))
		}
	}
	for name, value := range v {
		if p, ok := properties[name]; ok {
			faults = append(faults, s.check(at+"."+name, p, value)...)
		} else if schema["additionalProperties"] != true {
			faults = append(faults, fmt.Sprintf("%s: %s is not documented", at, name))
		}
	}
	return faults
}

func hasType(types, v any) bool {
	switch types := types.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(types, func(t any) bool { return hasType(t, v) })
	case string:
		switch v := v.(type) {
		case nil:
			return types == "null"
		case bool:
			return types == "boolean"
		case float64:
			return types == "integer" && v == float64(int64(v))
		case string:
			return types == "string"
		case []any:
			return types == "array"
		case object:
			return types == "object"
		}
	}
	return false
}

// checkKeyword checks what a keyword says of the value itself. Those that
// speak of another type than the value's say nothing.
func checkKeyword(keyword string, rule, v any) string {
	n, isNumber := v.(float64)
	text, isText := v.(string)
	list, isList := v.([]any)
	o, isObject := v.(object)
	bad := false
	switch keyword {
	case "type", "properties", "required", "items", "additionalProperties", "description", "format", "default":
	case "minimum":
		bad = isNumber && n < rule.(float64)
	case "maximum":
		bad = isNumber && n > rule.(float64)
	case "minLength":
		bad = isText && len(text) < int(rule.(float64))
	case "maxLength":
		bad = isText && len(text) > int(rule.(float64))
	case "maxItems":
		bad = isList && len(list) > int(rule.(float64))
	case "minProperties":
		bad = isObject && len(o) < int(rule.(float64))
	case "maxProperties":
		bad = isObject && len(o) > int(rule.(float64))
	case "pattern":
		bad = isText && !regexp.MustCompile(rule.(string)).MatchString(text)
	case "enum":
		bad = !slices.Contains(rule.([]any), v)
	default:
		return fmt.Sprintf("keyword %s is not known", keyword)
	}
	if bad {
		return fmt.Sprintf("%v breaks %s %v", v, keyword, rule)
	}
	return ""
}

func TestSchemaChecks(t *testing.T) {
	t.Parallel()
	s := schemas{object{"x": object{"type": "string", "pattern": "^a"}}}
	closed := object{"type": "object", "required": []any{"a"}, "properties": object{"a": object{"$ref": "#/x"}}}
	for _, c := range []struct {
		schema object
		value  any
		faults int
	}{
		{closed, object{"a": "ab"}, 0},
		{closed, object{"a": "b"}, 1},
		{closed, object{}, 1},
		{closed, object{"a": "a", "b": 1.0}, 1},
		{object{"type": "integer", "minimum": 2.0}, 1.0, 1},
		{object{"type": "integer"}, 1.5, 1},
		{object{"type": []any{"string", "null"}}, nil, 0},
		{object{"oneOf": []any{closed, object{"$ref": "#/x"}}}, "a", 0},
		{object{"oneOf": []any{object{"$ref": "#/x"}, object{"$ref": "#/x"}}}, "a", 1},
		{object{"type": "array", "items": object{"type": "boolean"}}, []any{true, "x"}, 1},
		{object{"enum": []any{"a"}}, "b", 1},
		{object{"typo": 1.0}, "b", 1},
	} {
		if f := s.check("it", c.schema, c.value); len(f) != c.faults {
			t.Errorf("%v as %v: %q, want %d faults", c.value, c.schema, f, c.faults)
		}
	}
}
