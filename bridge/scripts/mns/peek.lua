-- ARGV: how many. Answers of each message place, count, first, record.
local f = call('HMGET', a, 'epoch', 'retention', 'soon', 'oldest')
if not f[1] then return {} end
settle(clock(), tonumber(f[2]), f[3], f[4])
local out = {f[1]}
local places = call('ZRANGE', r, 0, ARGV[1] - 1)
if #places == 0 then return out end
local records = call('HMGET', m, unpack(places))
local states = call('HMGET', s, unpack(places))
for k, place in ipairs(places) do
  local count, first = received(states[k])
  if records[k] then
    local n = #out
    out[n + 1], out[n + 2], out[n + 3], out[n + 4] = place, count .. '', first, records[k]
  end
end
return out
