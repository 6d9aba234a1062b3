-- ARGV: name, subscription, whether it must not miss anything, limit. Answers
-- what is there already, or '' when it was made.
if redis.call('EXISTS', a) == 0 then return 'topic' end
local former = redis.call('HGET', s, ARGV[1])
if former then return former end
if redis.call('HLEN', s) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', s, ARGV[1], ARGV[2])
if ARGV[3] == '1' then redis.call('HSET', q, ARGV[1], ARGV[2]) end
return ''
