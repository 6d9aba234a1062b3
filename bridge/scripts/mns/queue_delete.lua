-- ARGV: channel, queue.
local f = redis.call('HMGET', a, 'epoch', 'watch')
if not f[1] then return 0 end
wake(f[2], ARGV[1], ARGV[2], f[1])
redis.call('UNLINK', unpack(KEYS))
return 1
