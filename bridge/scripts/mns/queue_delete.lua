-- ARGV: channel, queue.
local epoch = redis.call('HGET', a, 'epoch')
if not epoch then return 0 end
wake(ARGV[1], ARGV[2], epoch)
redis.call('UNLINK', unpack(KEYS))
return 1
