-- Turns a lease into a tombstone. The 1000 latest deaths are kept.
-- KEYS: leases, tombstones. ARGV: incarnation, 1 to end a lease that lives.
-- Answers whether the incarnation is dead, and the moment of its death.
local died = redis.call('ZSCORE', KEYS[2], ARGV[1])
if died then return {1, tonumber(died)} end
local ms = now()
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or ms)
if ends > ms then
  if ARGV[2] ~= '1' then return {0, 0} end
  ends = ms
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], ends, ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1001)
return {1, ends}
