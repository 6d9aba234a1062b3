-- ARGV: how many, visibility (0: the queue's), watching node or '', epoch or ''.
-- Answers epoch, polling wait, when the next is due, how many are dead, the
-- dead-letter queue; then of each message place, end, count, first, record.

-- due returns the milliseconds until a message becomes visible by itself, or -1.
local function due(now)
  local next = -1
  for _, set in ipairs({d, i}) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if first[2] then
      local wait = math.floor(first[2] / 1024) - now
      if next < 0 or wait < next then next = wait end
    end
  end
  return next
end

local f = redis.call('HMGET', a, 'epoch', 'visibility', 'retention', 'wait', 'dead', 'receives', 'watch', 'dying')
if not f[1] or ARGV[4] ~= '' and ARGV[4] ~= f[1] then return {} end
local max, visibility, retention = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(f[3])
if visibility == 0 then visibility = tonumber(f[2]) end
local mortal = f[5] and f[5] ~= ''
local now = clock()
advance(now, retention)
local dead = 0
if f[8] then
  if mortal then dead = redis.call('ZCARD', z)
  else
    local back = redis.call('ZRANGE', z, 0, 255)
    if #back > 0 then
      redis.call('ZREM', z, unpack(back))
      ready(back)
    else redis.call('HDEL', a, 'dying') end
  end
end
local out, taken, states, rounds, got = {f[1], f[4], -1, dead, f[5] or ''}, {}, {}, 0, 0
while got < max and rounds < 4 do
  rounds = rounds + 1
  local popped = redis.call('ZPOPMIN', r, max - got)
  if #popped == 0 then break end
  local places = {}
  for k = 1, #popped, 2 do places[#places + 1] = popped[k] end
  local records = redis.call('HMGET', m, unpack(places))
  local before = redis.call('HMGET', s, unpack(places))
  for k, place in ipairs(places) do
    local record, count, first = records[k], received(before[k])
    if not record or tonumber(string.match(record, '^%d+')) + retention <= now then
      forget({place})
    elseif mortal and count >= tonumber(f[6]) then
      redis.call('ZADD', z, now, place)
      redis.call('HSET', a, 'dying', 1)
      out[4] = out[4] + 1
    else
      got, count = got + 1, count + 1
      if first == 0 then first = now end
      local ending = int((now + visibility) * 1024 + count % 1024)
      taken[#taken + 1], taken[#taken + 2] = ending, place
      states[#states + 1], states[#states + 2] = place, count .. ' ' .. first
      local n = #out
      out[n + 1], out[n + 2], out[n + 3], out[n + 4], out[n + 5] = place, ending, count, first, record
    end
  end
end
if got > 0 then
  redis.call('ZADD', i, unpack(taken))
  redis.call('HSET', s, unpack(states))
end
if got < max then
  out[3] = due(now)
  if ARGV[3] ~= '' and not string.find(' ' .. (f[7] or '') .. ' ', ' ' .. ARGV[3] .. ' ', 1, true) then
    redis.call('HSET', a, 'watch', (f[7] or '') .. ' ' .. ARGV[3])
  end
end
return out
