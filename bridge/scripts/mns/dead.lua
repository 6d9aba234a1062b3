-- ARGV: how many, for how long. Answers of each message place and record.
local f = call('HMGET', a, 'epoch', 'retention', 'soon', 'oldest')
if not f[1] then return {} end
local now, out = clock(), {f[1]}
advance(now, tonumber(f[2]), f[3], f[4])
local places = call('ZRANGEBYSCORE', z, '-inf', now .. '', 'LIMIT', 0, ARGV[1])
for _, place in ipairs(places) do
  local record = call('HGET', m, place)
  call('ZADD', z, (now + ARGV[2]) .. '', place)
  if record then out[#out + 1], out[#out + 2] = place, record end
end
return out
