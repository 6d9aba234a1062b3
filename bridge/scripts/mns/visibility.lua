-- ARGV: channel, queue, epoch, place, end, milliseconds. Answers the new end.
local f = redis.call('HMGET', a, 'epoch', 'retention', 'watch')
if not f[1] then return 'queue' end
local now = clock()
if ARGV[3] ~= f[1] or not holds(i, ARGV[4], ARGV[5], now) then return '' end
local sent = redis.call('ZSCORE', x, ARGV[4])
if not sent or sent + f[2] <= now then return '' end
local ending = int((now + ARGV[6]) * 1024 + (ARGV[5] + 1) % 1024)
redis.call('ZADD', i, ending, ARGV[4])
wake(f[3], ARGV[1], ARGV[2], '')
return ending
