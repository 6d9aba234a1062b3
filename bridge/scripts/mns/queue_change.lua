-- ARGV: channel, queue, then names and values of settings.
local f = call('HMGET', a, 'epoch', 'watch')
if not f[1] then return 0 end
call('HSET', a, 'modified', clock() .. '', unpack(ARGV, 3))
call('HDEL', a, 'soon') -- another retention may be over sooner
wake(f[2], ARGV[1], ARGV[2], '')
return 1
