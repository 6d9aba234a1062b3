package ring_test

import "github.com/faac1247/rollcall/protocol"

// What a default ring answers, for good: the keys' partitions, and the digest
// and some owners of the ring of node0 to node11.
const goldenDigest = 0xbb7c6acefe1d1dbe

var goldenRooms = map[protocol.RoomID]protocol.PartitionID{
	"": 2481, "1": 1989, "1000234": 2264, "lobby": 3240, "call/77": 3443,
}

var goldenUsers = map[protocol.UserID]protocol.PartitionID{
	1: 763, 123456789: 3135, 9223372036854775807: 3855,
}

var goldenOwners = map[protocol.PartitionID]protocol.NodeID{
	0: "node7", 1: "node2", 777: "node10", 2048: "node8", 4092: "node0",
}
