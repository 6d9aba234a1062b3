-- ARGV: channel, queue, epoch, place, end, how i names it, what precedes and
-- follows the end in its new name, milliseconds. Answers the new end.
local f = call('HMGET', a, 'epoch', 'retention', 'watch', 'soon')
if not f[1] then return 'queue' end
local now = clock()
if ARGV[3] ~= f[1] or tonumber(ARGV[5]) <= now then return '' end
local record = call('HGET', m, ARGV[4])
local expires = record and sent(record) + f[2]
if not expires or expires <= now or call('ZREM', i, ARGV[6]) == 0 then return '' end
local ending = now + ARGV[9]
local score = math.min(ending, expires)
call('ZADD', i, score .. '', ARGV[7] .. ending .. ARGV[8])
if f[4] and score < tonumber(f[4]) then call('HSET', a, 'soon', score .. '') end
wake(f[3], ARGV[1], ARGV[2], '')
return ending .. ''
