-- ARGV: channel, queue, then names and values of settings.
if redis.call('EXISTS', a) == 0 then return 0 end
redis.call('HSET', a, 'modified', int(clock()), unpack(ARGV, 3))
wake(ARGV[1], ARGV[2], '')
return 1
