-- ARGV: channel, queue, then of each handle epoch, place, end, how i names it.
local f = call('HMGET', a, 'epoch', 'watch', 'oldest')
local epoch = f[1]
if not epoch then return 0 end
local now = clock()
for k = 3, #ARGV, 4 do
  if ARGV[k] == epoch and tonumber(ARGV[k + 2]) > now and call('ZREM', i, ARGV[k + 3]) == 1 then
    back({ARGV[k + 1]}, f[3])
  end
end
wake(f[2], ARGV[1], ARGV[2], '')
return 1
