-- ARGV: channel, queue, limit, then of each message the first letter of its
-- place, delay (-1: the queue's), size, record. Answers the epoch alone if all
-- were taken and are visible; otherwise epoch, largest size, then of each
-- message '', what its handle needs, 'large' or 'full'.
local f = call('HMGET', a, 'epoch', 'soon', 'delay', 'max', 'retention', 'watch', 'full')
if not f[1] then return {} end
local now = clock()
local at, count = now .. '', (#ARGV - 3) / 4
local seq = call('HINCRBY', a, 'seq', count) - count
-- Whether there is room is looked at now and then, and always while there was
-- none: a queue may exceed its bound by so few.
local room = count
if f[7] or seq % 64 < count then
  room = tonumber(ARGV[3]) - call('HLEN', m)
  if room <= 0 and not f[7] then call('HSET', a, 'full', 1) end
  if room > 0 and f[7] then call('HDEL', a, 'full') end
end
local largest, delay, soon = tonumber(f[4]), tonumber(f[3]), tonumber(f[2] or 0)

-- later puts a message aside that is not due yet.
local function later(place, wait)
  local member = place .. ' ' .. (now + wait)
  -- What expires before it is due is looked at then.
  local score = now + math.min(wait, tonumber(f[5]))
  call('ZADD', d, score .. '', member)
  if score < soon then
    soon = score
    call('HSET', a, 'soon', soon .. '')
  end
  return member
end

if count == 1 and tonumber(ARGV[6]) <= largest and room > 0 and delay + tonumber(ARGV[5]) <= 0 then
  -- What most calls are for; the same as below, for less.
  local place = ARGV[4] .. seq + 1
  call('HSET', m, place, at .. '\n' .. ARGV[7])
  call('ZADD', r, '0', place)
  if f[6] then wake(f[6], ARGV[1], ARGV[2], '') end
  return {f[1]}
end
local records, active, out, plain = {}, {}, {f[1], f[4]}, true
for k = 4, #ARGV, 4 do
  local verdict = ''
  if tonumber(ARGV[k + 2]) > largest then verdict = 'large'
  elseif room <= 0 then verdict = 'full'
  else
    seq, room = seq + 1, room - 1
    local place, wait, n = ARGV[k] .. seq, tonumber(ARGV[k + 1]), #records
    if wait < 0 then wait = delay end
    records[n + 1], records[n + 2] = place, at .. '\n' .. ARGV[k + 3]
    if wait > 0 then verdict = later(place, wait)
    else
      n = #active
      active[n + 1], active[n + 2] = '0', place
    end
  end
  out[#out + 1] = verdict
  if verdict ~= '' then plain = false end
end
if #records == 0 then return out end
call('HSET', m, unpack(records))
if #active > 0 then call('ZADD', r, unpack(active)) end
if f[6] then wake(f[6], ARGV[1], ARGV[2], '') end
return plain and {f[1]} or out
