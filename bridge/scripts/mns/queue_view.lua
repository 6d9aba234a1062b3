-- Answers settings, counts of r, i, d and z, and when the oldest was sent.
local f = redis.call('HMGET', a, 'epoch', 'created', 'modified', 'delay', 'max', 'retention',
  'visibility', 'wait', 'logging', 'dead', 'receives')
if not f[1] then return {} end
local now, rounds = clock(), 0
while rounds < 8 and advance(now, tonumber(f[6])) do rounds = rounds + 1 end
local oldest = redis.call('ZRANGE', x, 0, 0, 'WITHSCORES')
f[12], f[13], f[14], f[15] = redis.call('ZCARD', r), redis.call('ZCARD', i), redis.call('ZCARD', d), redis.call('ZCARD', z)
f[16] = oldest[2] or ''
return f
