-- ARGV: channel, news, size of the body, '1' when delivered to those who must
-- not miss it, for how long names are kept and how many, then names that must
-- not have been published before. Answers a word and what goes with it.
local f = redis.call('HMGET', a, 'max')
if not f[1] then return {'topic'} end
if tonumber(ARGV[3]) > tonumber(f[1]) then return {'large', f[1]} end
local now = 0
if #ARGV > 6 then
  now = clock()
  local before = {'before'}
  for n, kept in ipairs(redis.call('ZMSCORE', k, unpack(ARGV, 7))) do
    if kept and tonumber(kept) > now then before[#before + 1] = ARGV[n + 6] end
  end
  if #before > 1 then return before end
end
if ARGV[4] ~= '1' and redis.call('EXISTS', q) == 1 then
  local durable = redis.call('HVALS', q)
  table.insert(durable, 1, 'durable')
  return durable
end
if #ARGV > 6 then
  redis.call('ZREMRANGEBYSCORE', k, '-inf', now .. '')
  local add, kept = {}, (now + ARGV[5]) .. ''
  for n = 7, #ARGV do add[#add + 1], add[#add + 2] = kept, ARGV[n] end
  redis.call('ZADD', k, unpack(add))
  redis.call('ZREMRANGEBYRANK', k, 0, -(ARGV[6] + 1))
end
redis.call('HINCRBY', a, 'count', 1)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'done'}
