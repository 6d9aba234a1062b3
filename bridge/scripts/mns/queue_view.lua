-- Answers settings, counts of r, i, d and z, and when the oldest in r was sent.
local f = call('HMGET', a, 'epoch', 'created', 'modified', 'delay', 'max', 'retention',
  'visibility', 'wait', 'logging', 'dead', 'receives', 'soon', 'oldest')
if not f[1] then return {} end
local now = clock()
settle(now, tonumber(f[6]), f[12], f[13])
f[12], f[13], f[14], f[15] = call('ZCARD', r), call('ZCARD', i), call('ZCARD', d), call('ZCARD', z)
f[16] = ''
if f[12] > 0 then f[16] = expire(now, tonumber(f[6])) .. '' end
return f
