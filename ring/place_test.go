package ring

import (
	"strings"
	"testing"

	"github.com/faac1247/rollcall/protocol"
)

// TestPlacePanicIsAnError uses a load that Validate refuses: with it the
// library finds no room for the last partition and panics.
func TestPlacePanicIsAnError(t *testing.T) {
	t.Parallel()
	owners, err := place(Config{Partitions: 100, Replication: 3, Load: 0.5}, []protocol.NodeID{"n1", "n2"})
	if owners != nil || err == nil || !strings.Contains(err.Error(), "not enough room") {
		t.Errorf("owners %v, error %v", owners, err)
	}
}
