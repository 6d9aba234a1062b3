package protocol

import (
	"slices"
	"testing"
)

func TestFieldsWalksInOrder(t *testing.T) {
	o, err := ParseObject([]byte(` {"a":1 , "\u0062" : "x,\"y" ,"c":{"a":[2]}} `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, v := range o.Fields() {
		got = append(got, string(name)+"="+string(v))
	}
	if want := []string{"a=1", `b="x,\"y"`, `c={"a":[2]}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range o.Fields() {
		break // a walk may end early
	}
	for range (Object{}).Fields() {
		t.Error("the zero object has a field")
	}
}

func TestFieldsAllocatesNothing(t *testing.T) {
	o, err := ParseObject([]byte(topicMessage))
	if err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		n := 0
		for _, v := range o.Fields() {
			n += len(v)
		}
		if n == 0 {
			t.Fatal("no fields")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
