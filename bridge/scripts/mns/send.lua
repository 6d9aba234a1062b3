-- ARGV: channel, queue, limit, then of each message priority, delay (-1: the
-- queue's), size, record. Answers epoch, largest size, then of each message its
-- place and what its handle needs, '' for none; place 'large' or 'full' if it
-- was not taken.
local f = redis.call('HMGET', a, 'epoch', 'delay', 'max')
if not f[1] then return {} end
local now, delay, largest = clock(), tonumber(f[2]), tonumber(f[3])
local count = (#ARGV - 3) / 4
local room = tonumber(ARGV[3]) - redis.call('ZCARD', x)
local seq = redis.call('HINCRBY', a, 'seq', count) - count
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
    records[#records + 1], records[#records + 2] = place, int(now) .. '\n' .. ARGV[k + 3]
    sent[#sent + 1], sent[#sent + 2] = now, place
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
wake(ARGV[1], ARGV[2], '')
return out
