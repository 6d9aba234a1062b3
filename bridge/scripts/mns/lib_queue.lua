-- A queue. a: its settings. Of each message, by its place: m its record, begun
-- by when it was sent; s how often and when first it was received; x when it was
-- sent. Its place is in one of r (can be received), d (not due yet), i (with a
-- receiver), z (to be moved to the dead-letter queue). w: the nodes that watch.
-- Scores of d and i are milliseconds times 1024, plus a counter.
local a, m, s, r, d, i, x, w, z =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]

local function int(n) return string.format('%.0f', n) end

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function forget(places)
  for _, set in ipairs({r, d, i, x, z}) do redis.call('ZREM', set, unpack(places)) end
  redis.call('HDEL', m, unpack(places))
  redis.call('HDEL', s, unpack(places))
end

-- ready lets messages be received, in the place that they always had.
local function ready(places)
  local add = {}
  for k, place in ipairs(places) do add[2 * k - 1], add[2 * k] = place, place end
  redis.call('ZADD', r, unpack(add))
end

-- advance forgets what has expired and makes visible what is due, both within
-- bounds, and reports whether there is more to do.
local function advance(now, retention)
  local more = false
  local old = redis.call('ZRANGEBYSCORE', x, '-inf', int(now - retention), 'LIMIT', 0, 256)
  if #old > 0 then forget(old); more = #old == 256 end
  for _, set in ipairs({d, i}) do
    local due = redis.call('ZRANGEBYSCORE', set, '-inf', int(now * 1024 + 1023), 'LIMIT', 0, 256)
    if #due > 0 then
      redis.call('ZREM', set, unpack(due))
      ready(due)
      more = more or #due == 256
    end
  end
  return more
end

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

-- wake tells the nodes that watch, once.
local function wake(channel, name, gone)
  local nodes = redis.call('SMEMBERS', w)
  if #nodes == 0 then return end
  redis.call('DEL', w)
  for _, node in ipairs(nodes) do redis.call('PUBLISH', channel .. node, name .. '\n' .. gone) end
end

-- holds reports whether a message still is in the state that a handle names.
local function holds(set, place, ending, now)
  local score = redis.call('ZSCORE', set, place)
  return score and tonumber(score) == tonumber(ending) and math.floor(ending / 1024) > now
end

local function received(state)
  if not state then return 0, 0 end
  local count, first = string.match(state, '^(%d+) (%d+)$')
  return tonumber(count), tonumber(first)
end
