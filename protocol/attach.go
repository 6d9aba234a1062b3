package protocol

// Fingerprint returns the occupant's share of an Attach hash: the hash of a
// list is the sum of its members' fingerprints, so that order does not matter
// and a list's hash can be kept up to date member by member.
func (o Occupant) Fingerprint(room RoomID) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(room) {
		h = (h ^ uint64(room[i])) * 1099511628211
	}
	for _, n := range [...]uint64{uint64(o.User), uint64(o.Conn), uint64(o.Version)} {
		h = mix64(h ^ n)
	}
	return h
}

// mix64 spreads every input bit over the whole word, as sums of fingerprints
// need.
func mix64(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}
