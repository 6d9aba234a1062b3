-- Reads the oldest events of a partition.
-- KEYS: outbox, its count. ARGV: how many.
-- Answers how many are missing before them, the serial number of the first, and
-- the events.
local last = tonumber(redis.call('HGET', KEYS[2], 'n') or 0)
local posted = tonumber(redis.call('HGET', KEYS[2], 'p') or 0)
local gone = last - redis.call('LLEN', KEYS[1])
return {math.max(0, gone - posted), gone + 1, redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)}
