-- ARGV: channel, queue, then names and values of settings.
local f = redis.call('HMGET', a, 'epoch', 'watch')
if not f[1] then return 0 end
redis.call('HSET', a, 'modified', clock() .. '', unpack(ARGV, 3))
wake(f[2], ARGV[1], ARGV[2], '')
return 1
