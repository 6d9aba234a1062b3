package memory_test

import (
	"testing"

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
