-- Replaces a partition that holds an older state.
-- KEYS: header, entries. ARGV: epoch, position, owner, key, value, ...
-- Answers 1 restored, 3 outranked.
local stored = redis.call('GET', KEYS[1])
if stored then
  local epoch, position, owner = parse(stored)
  local claimed = tonumber(ARGV[1])
  if epoch > claimed then return 3 end
  if epoch == claimed and (owner ~= ARGV[3] or position > tonumber(ARGV[2])) then return 3 end
end
redis.call('DEL', KEYS[2])
for i = 4, #ARGV, 5000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 4999, #ARGV)))
end
redis.call('SET', KEYS[1], header(ARGV[1], ARGV[2], ARGV[3]))
return 1
