-- ARGV: channel, news, name, as it was, as it is to be.
if redis.call('HGET', s, ARGV[3]) ~= ARGV[4] then return 0 end
redis.call('HSET', s, ARGV[3], ARGV[5])
if redis.call('HEXISTS', q, ARGV[3]) == 1 then redis.call('HSET', q, ARGV[3], ARGV[5]) end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
