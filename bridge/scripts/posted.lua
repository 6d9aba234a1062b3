-- Forgets the events of a partition up to one that was posted.
-- KEYS: outbox, its count. ARGV: the serial number of that one, and how its hash
-- begins. An event that is not the one that was posted, because the store has
-- lost its tail since, is kept.
local serial = tonumber(ARGV[1])
local last = tonumber(redis.call('HGET', KEYS[2], 'n') or 0)
local gone = last - redis.call('LLEN', KEYS[1])
if serial > last then return 0 end
if serial > gone then
  local event = redis.call('LINDEX', KEYS[1], serial - gone - 1)
  if string.sub(redis.sha1hex(event), 1, #ARGV[2]) ~= ARGV[2] then return 0 end
  redis.call('LTRIM', KEYS[1], serial - gone, -1)
end
if serial > tonumber(redis.call('HGET', KEYS[2], 'p') or 0) then
  redis.call('HSET', KEYS[2], 'p', ARGV[1])
end
return 1
