-- ARGV: names and values of settings.
if redis.call('EXISTS', a) == 0 then return 0 end
redis.call('HSET', a, 'modified', clock() .. '', unpack(ARGV))
return 1
