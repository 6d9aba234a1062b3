-- forget removes messages from everything but d and i.
local function forget(places)
  call('ZREM', r, unpack(places))
  call('ZREM', z, unpack(places))
  call('HDEL', m, unpack(places))
  call('HDEL', s, unpack(places))
end

-- ready lets messages be received, in the place that they always had, and
-- returns when the oldest of them was sent. Those that are no more stay away.
local function ready(places)
  local add, oldest = {}, never
  local records = call('HMGET', m, unpack(places))
  for k, place in ipairs(places) do
    if records[k] then
      oldest = math.min(oldest, sent(records[k]))
      add[#add + 1], add[#add + 2] = '0', place
    end
  end
  if #add > 0 then call('ZADD', r, unpack(add)) end
  return oldest
end

-- release makes visible what is due in a set, counts who had it, and drops what
-- has expired: messages are looked at when they expire, too. Those that have
-- not, as the retention is longer now, stay.
local function release(set, members, now, retention)
  local places, ends, firsts, back, counts = {}, {}, {}, {}, {}
  for k, member in ipairs(members) do
    places[k], ends[k], firsts[k] = string.match(member, '^(%S+) (%d+) ?%d* ?(%d*)')
  end
  local records, states = call('HMGET', m, unpack(places)), call('HMGET', s, unpack(places))
  call('ZREM', set, unpack(members))
  for k, place in ipairs(places) do
    local expires = records[k] and sent(records[k]) + retention
    if not expires then -- it is no more
    elseif expires <= now then forget({place})
    elseif tonumber(ends[k]) > now then call('ZADD', set, math.min(ends[k], expires) .. '', members[k])
    else
      back[#back + 1] = place
      if firsts[k] ~= '' then
        local count, first = received(states[k])
        if count == 0 then first = firsts[k] end
        counts[#counts + 1], counts[#counts + 2] = place, (count + 1) .. ' ' .. first
      end
    end
  end
  if #counts > 0 then
    call('HSET', s, unpack(counts))
    call('HSET', a, 'again', 1)
  end
  return #back > 0 and ready(back) or never
end

-- earliest returns the lowest score of a set.
local function earliest(set)
  local first = call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  return first and tonumber(first) or never
end

-- expire forgets what in r has expired, and returns when the oldest that has not
-- was sent, or now, and whether there is more. In each priority the oldest is
-- the first.
local function expire(now, retention)
  local oldest, more = now, false
  for priority = 97, 112 do
    local from, to, n = '[' .. string.char(priority), '(' .. string.char(priority + 1), 1
    while n > 0 do
      local places = call('ZRANGEBYLEX', r, from, to, 'LIMIT', 0, n)
      if #places == 0 then break end
      local records, old = call('HMGET', m, unpack(places)), {}
      for k, place in ipairs(places) do
        if records[k] and sent(records[k]) + retention > now then
          oldest = math.min(oldest, sent(records[k]))
          break
        end
        old[k] = place
      end
      if #old > 0 then forget(old) end
      more = more or #old == 256
      n = n == 1 and #old == 1 and 256 or 0
    end
  end
  return oldest, more
end

-- advance forgets what has expired and makes visible what is due, both within
-- bounds. There is nothing to do before soon; it returns what soon is then, how
-- old messages may be, and whether there is more.
local function advance(now, retention, soon, oldest)
  if soon and now < tonumber(soon) then return tonumber(soon), tonumber(oldest), false end
  local more = false
  oldest = tonumber(oldest)
  for _, set in ipairs({d, i}) do
    local due = call('ZRANGEBYSCORE', set, '-inf', now .. '', 'LIMIT', 0, 256)
    if #due > 0 then
      oldest = math.min(oldest, release(set, due, now, retention))
      more = more or #due == 256
    end
  end
  if oldest + retention <= now then
    local rest
    oldest, rest = expire(now, retention)
    more = more or rest
  end
  soon = more and 0 or math.min(oldest + retention, earliest(d), earliest(i))
  call('HSET', a, 'soon', soon .. '', 'oldest', oldest .. '')
  if call('HLEN', s) == 0 then call('HDEL', a, 'again') end
  return soon, oldest, more
end

-- settle advances until there is no more to do, within bounds.
local function settle(now, retention, soon, oldest)
  local more, rounds = true, 0
  while more and rounds < 8 do
    soon, oldest, more = advance(now, retention, soon, oldest)
    rounds = rounds + 1
  end
end

-- back makes messages visible that somebody had, or nobody wanted, and returns
-- how old messages may be now.
local function back(places, oldest)
  local first = ready(places)
  if first >= tonumber(oldest) then return tonumber(oldest) end
  call('HSET', a, 'oldest', first .. '', 'soon', '0')
  return first
end
