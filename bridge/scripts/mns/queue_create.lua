-- ARGV: epoch, then names and values of settings.
if redis.call('EXISTS', a) == 1 then return 0 end
local now = clock() .. ''
redis.call('HSET', a, 'epoch', ARGV[1], 'created', now, 'modified', now, unpack(ARGV, 2))
return 1
