-- ARGV: channel, news, name.
redis.call('HDEL', q, ARGV[3])
if redis.call('HDEL', s, ARGV[3]) == 1 then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return 1
