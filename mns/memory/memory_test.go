package memory_test

import (
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/faac1247/rollcall/mns"
	"github.com/faac1247/rollcall/mns/memory"
	"github.com/faac1247/rollcall/mns/storetest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) storetest.Open {
		s := memory.New()
		return func(_ testing.TB, node string) mns.Store { return s.Node(node) }
	})
}

// TestModel plays schedules of a day.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		schedule := storetest.Draw(rt)
		var err error
		synctest.Test(t, func(t *testing.T) { err = schedule.Play(t.Context(), memory.New().Node("n1")) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}
