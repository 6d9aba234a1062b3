-- ARGV: how many, for how long. Answers of each message place and record.
local f = redis.call('HMGET', a, 'epoch', 'retention')
if not f[1] then return {} end
local now, out = clock(), {f[1]}
advance(now, tonumber(f[2]))
local places = redis.call('ZRANGEBYSCORE', z, '-inf', now .. '', 'LIMIT', 0, ARGV[1])
for _, place in ipairs(places) do
  local record = redis.call('HGET', m, place)
  redis.call('ZADD', z, (now + ARGV[2]) .. '', place)
  if record then out[#out + 1], out[#out + 2] = place, record end
end
return out
