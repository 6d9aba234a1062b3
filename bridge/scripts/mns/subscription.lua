-- ARGV: name.
if redis.call('EXISTS', a) == 0 then return 'topic' end
return redis.call('HGET', s, ARGV[1]) or ''
