-- ARGV: channel, news.
if redis.call('UNLINK', a) == 0 then return 0 end
redis.call('UNLINK', s, q, k)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
