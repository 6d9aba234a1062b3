-- ARGV: channel, queue, then of each handle epoch, place, end.
local f = redis.call('HMGET', a, 'epoch', 'watch')
local epoch = f[1]
if not epoch then return 0 end
local now = clock()
for k = 3, #ARGV, 3 do
  local place = ARGV[k + 1]
  if ARGV[k] == epoch and holds(i, place, ARGV[k + 2], now) then
    redis.call('ZREM', i, place)
    ready({place})
    local count, first = received(redis.call('HGET', s, place))
    if count > 1 then redis.call('HSET', s, place, (count - 1) .. ' ' .. first)
    else redis.call('HDEL', s, place) end
  end
end
wake(f[2], ARGV[1], ARGV[2], '')
return 1
