-- ARGV: how many, visibility (0: the queue's), watching node or '', epoch or ''.
-- Answers epoch, polling wait, when the next is due if that is told, how many
-- are dead, the dead-letter queue; then of each message how i names it, with
-- its count unless that is 1, and its record.
local f = call('HMGET', a, 'epoch', 'soon', 'oldest', 'visibility', 'retention', 'wait', 'dead', 'receives', 'watch', 'dying', 'again')
if not f[1] or ARGV[4] ~= '' and ARGV[4] ~= f[1] then return {} end
local max, visibility, retention = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(f[5])
if visibility == 0 then visibility = tonumber(f[4]) end
local mortal = f[7] and f[7] ~= ''
local now = clock()
local soon, oldest = advance(now, retention, f[2], f[3])
local dead = 0
if f[10] then
  if mortal then dead = call('ZCARD', z)
  else
    local alive = call('ZRANGE', z, 0, 255)
    if #alive > 0 then
      call('ZREM', z, unpack(alive))
      oldest = back(alive, oldest)
    else call('HDEL', a, 'dying') end
  end
end

-- ending is when these messages are visible again, fresh what i says of one that
-- was never received before.
local ending = (now + visibility) .. ''
local fresh = ' ' .. ending .. ' 0 ' .. now
local again = f[11] or not f[2] or now >= tonumber(f[2])
local out, taken, rounds, got = {f[1], f[6], -1, dead, f[7] or ''}, {}, 0, 0

-- give gives a message out.
local function give(place, record, count, first)
  local member, score, n = place .. fresh, ending, #taken
  if count > 0 then member = place .. ' ' .. ending .. ' 0 ' .. first end
  if now + visibility > oldest + retention then
    -- What may expire before it is visible again is looked at then.
    local expires = sent(record) + retention
    if expires <= now then return forget({place}) end
    score = math.min(now + visibility, expires)
    if score < soon then soon = score; call('HSET', a, 'soon', score .. '') end
    score = score .. ''
  end
  taken[n + 1], taken[n + 2] = score, member
  n = #out
  out[n + 1], out[n + 2] = count > 0 and member .. ' ' .. (count + 1) or member, record
  got = got + 1
end

while got < max and rounds < 4 do
  rounds = rounds + 1
  local popped = call('ZPOPMIN', r, max - got)
  if #popped == 0 then break end
  local places, states = {}, {}
  for k = 1, #popped, 2 do places[#places + 1] = popped[k] end
  local records = call('HMGET', m, unpack(places))
  if again then states = call('HMGET', s, unpack(places)) end
  for k, place in ipairs(places) do
    local count, first = 0, '0'
    if states[k] then count, first = received(states[k]) end
    if not records[k] then forget({place})
    elseif mortal and count >= tonumber(f[8]) then
      call('ZADD', z, now .. '', place)
      call('HSET', a, 'dying', 1)
      out[4] = out[4] + 1
    else give(place, records[k], count, first) end
  end
end
if got > 0 then
  call('ZADD', i, unpack(taken))
  if now + visibility < soon then call('HSET', a, 'soon', ending) end
end
if got == 0 or got < max and ARGV[3] ~= '' then
  local due = math.min(earliest(d), earliest(i))
  if due < never then out[3] = due - now end
  if ARGV[3] ~= '' and not string.find(' ' .. (f[9] or '') .. ' ', ' ' .. ARGV[3] .. ' ', 1, true) then
    call('HSET', a, 'watch', (f[9] or '') .. ' ' .. ARGV[3])
  end
end
return out
