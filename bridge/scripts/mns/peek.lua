-- ARGV: how many. Answers of each message place, count, first, record.
local f = redis.call('HMGET', a, 'epoch', 'retention')
if not f[1] then return {} end
local now, rounds = clock(), 0
while rounds < 8 and advance(now, tonumber(f[2])) do rounds = rounds + 1 end
local out = {f[1]}
local places = redis.call('ZRANGE', r, 0, ARGV[1] - 1)
if #places == 0 then return out end
local records = redis.call('HMGET', m, unpack(places))
local states = redis.call('HMGET', s, unpack(places))
for k, place in ipairs(places) do
  local count, first = received(states[k])
  if records[k] then
    local n = #out
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = place, count, first, records[k]
  end
end
return out
