-- ARGV: of each handle epoch, 'd' or 'i', place, end. Answers 1 or 0 for each.
local f = redis.call('HMGET', a, 'epoch', 'retention')
local epoch = f[1]
if not epoch then return {} end
local now, out, gone = clock(), {}, {}
-- What has expired is not there, although nothing may have come by to remove it.
local oldest = redis.call('ZRANGE', x, 0, 0, 'WITHSCORES')[2]
local aged = oldest and oldest + f[2] <= now
for k = 1, #ARGV, 4 do
  local set, place, ok = i, ARGV[k + 2], 0
  if ARGV[k + 1] == 'd' then set = d end
  local sent = aged and redis.call('ZSCORE', x, place)
  if sent and sent + f[2] <= now then
    ok = 0
  elseif ARGV[k] == epoch and holds(set, place, ARGV[k + 3], now) then
    redis.call('ZREM', set, place)
    gone[#gone + 1], ok = place, 1
  end
  out[#out + 1] = ok
end
if #gone > 0 then
  redis.call('ZREM', x, unpack(gone))
  redis.call('HDEL', m, unpack(gone))
  redis.call('HDEL', s, unpack(gone))
end
return out
