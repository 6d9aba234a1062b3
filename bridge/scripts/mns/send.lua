-- ARGV: channel, queue, limit, then of each message priority, delay (-1: the
-- queue's), size, record. Answers epoch, largest size, then of each message its
-- place and what its handle needs, '' for none; place 'large' or 'full' if it
-- was not taken.
local f = redis.call('HMGET', a, 'epoch', 'delay', 'max', 'watch', 'full')
if not f[1] then return {} end
local now, delay, largest = clock(), tonumber(f[2]), tonumber(f[3])
local at = now .. ''
local count = (#ARGV - 3) / 4
local seq = redis.call('HINCRBY', a, 'seq', count) - count
-- Whether there is room is looked at now and then, and always while there was
-- none: a queue may exceed its bound by so few.
local room = count
if f[5] or seq % 64 < count then
  room = tonumber(ARGV[3]) - redis.call('ZCARD', x)
  if room <= 0 and not f[5] then redis.call('HSET', a, 'full', 1) end
  if room > 0 and f[5] then redis.call('HDEL', a, 'full') end
end
local out, records, sent, active, later = {f[1], largest}, {}, {}, {}, {}
for k = 4, #ARGV, 4 do
  local place, ending = '', ''
  if tonumber(ARGV[k + 2]) > largest then place = 'large'
  elseif room <= 0 then place = 'full'
  else
    seq, room = seq + 1, room - 1
    place = int(ARGV[k] * 281474976710656 + seq)
    local wait = tonumber(ARGV[k + 1])
    if wait < 0 then wait = delay end
    records[#records + 1], records[#records + 2] = place, at .. '\n' .. ARGV[k + 3]
    sent[#sent + 1], sent[#sent + 2] = at, place
    if wait > 0 then
      ending = int((now + wait) * 1024)
      later[#later + 1], later[#later + 2] = ending, place
    else
      active[#active + 1], active[#active + 2] = place, place
    end
  end
  out[#out + 1], out[#out + 2] = place, ending
end
if #records == 0 then return out end
redis.call('HSET', m, unpack(records))
redis.call('ZADD', x, unpack(sent))
if #active > 0 then redis.call('ZADD', r, unpack(active)) end
if #later > 0 then redis.call('ZADD', d, unpack(later)) end
wake(f[4], ARGV[1], ARGV[2], '')
return out
