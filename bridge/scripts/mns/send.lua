-- ARGV: channel, queue, limit, then of each message priority, delay (-1: the
-- queue's), size, record. Answers epoch, largest size, then of each message its
-- place and what its handle needs, '' for none; place 'large' or 'full' if it
-- was not taken.
local call = redis.call
local f = call('HMGET', a, 'epoch', 'delay', 'max', 'watch', 'full')
if not f[1] then return {} end
local now = clock()
local at, count = now .. '', (#ARGV - 3) / 4
local seq = call('HINCRBY', a, 'seq', count) - count
-- Whether there is room is looked at now and then, and always while there was
-- none: a queue may exceed its bound by so few.
local room = count
if f[5] or seq % 64 < count then
  room = tonumber(ARGV[3]) - call('ZCARD', x)
  if room <= 0 and not f[5] then call('HSET', a, 'full', 1) end
  if room > 0 and f[5] then call('HDEL', a, 'full') end
end
local largest, delay = tonumber(f[3]), tonumber(f[2])

-- take decides on the message at k: its place, and when it is due if not now.
local function take(k)
  if tonumber(ARGV[k + 2]) > largest then return 'large' end
  if room <= 0 then return 'full' end
  seq, room = seq + 1, room - 1
  local wait = tonumber(ARGV[k + 1])
  if wait < 0 then wait = delay end
  return int(ARGV[k] * 281474976710656 + seq), wait > 0 and int((now + wait) * 1024) or ''
end

if count == 1 then -- the same as below, for less
  local place, ending = take(4)
  if not ending then return {f[1], f[3], place, ''} end
  call('HSET', m, place, at .. '\n' .. ARGV[7])
  call('ZADD', x, at, place)
  if ending == '' then call('ZADD', r, place, place) else call('ZADD', d, ending, place) end
  if f[4] then wake(f[4], ARGV[1], ARGV[2], '') end
  return {f[1], f[3], place, ending}
end
local out, records, sent, active, later = {f[1], f[3]}, {}, {}, {}, {}
for k = 4, #ARGV, 4 do
  local place, ending = take(k)
  local n = #out
  out[n + 1], out[n + 2] = place, ending or ''
  if ending then
    n = #records
    records[n + 1], records[n + 2] = place, at .. '\n' .. ARGV[k + 3]
    sent[n + 1], sent[n + 2] = at, place
    local set, score = active, place
    if ending ~= '' then set, score = later, ending end
    n = #set
    set[n + 1], set[n + 2] = score, place
  end
end
if #records == 0 then return out end
call('HSET', m, unpack(records))
call('ZADD', x, unpack(sent))
if #active > 0 then call('ZADD', r, unpack(active)) end
if #later > 0 then call('ZADD', d, unpack(later)) end
if f[4] then wake(f[4], ARGV[1], ARGV[2], '') end
return out
