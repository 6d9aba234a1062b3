-- post: appends ARGV[from..to] to an outbox. It holds 100000 events, then the
-- oldest go; count.n is the serial number of the last one appended.
local function post(outbox, count, from, to)
  if from > to then return end
  for i = from, to, 5000 do
    redis.call('RPUSH', outbox, unpack(ARGV, i, math.min(i + 4999, to)))
  end
  redis.call('HINCRBY', count, 'n', to - from + 1)
  redis.call('LTRIM', outbox, -100000, -1)
end
