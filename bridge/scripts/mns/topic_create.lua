-- ARGV: names and values of settings.
if redis.call('EXISTS', a) == 1 then return 0 end
local now = clock() .. ''
redis.call('HSET', a, 'created', now, 'modified', now, 'count', 0, unpack(ARGV))
return 1
