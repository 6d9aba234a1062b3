-- Writes the cluster's shape if none is there.
-- KEYS: shape, store. ARGV: shape, store id for an empty store.
-- Answers the shape that is there.
redis.call('SETNX', KEYS[1], ARGV[1])
redis.call('SETNX', KEYS[2], ARGV[2])
return redis.call('GET', KEYS[1])
