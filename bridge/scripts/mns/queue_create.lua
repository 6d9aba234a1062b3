-- ARGV: epoch, what the first place follows, then names and values of settings.
-- What is asked for most comes first: a small hash is searched from there.
if call('EXISTS', a) == 1 then return 0 end
local now = clock() .. ''
call('HSET', a, 'seq', ARGV[2], 'epoch', ARGV[1], 'soon', '0', 'oldest', now, unpack(ARGV, 3))
call('HSET', a, 'created', now, 'modified', now)
return 1
