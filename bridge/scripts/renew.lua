-- Grants a lease from now on.
-- KEYS: leases, tombstones, store. ARGV: incarnation, length in ms, store id
-- for an empty store.
-- Answers now, store id, leases, tombstones (each as name, ms, name, ms, ...);
-- nothing to an incarnation with a tombstone.
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then return {} end
local ms = now()
redis.call('ZADD', KEYS[1], ms + tonumber(ARGV[2]), ARGV[1])
redis.call('SETNX', KEYS[3], ARGV[3])
return {
  ms,
  redis.call('GET', KEYS[3]),
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
}
