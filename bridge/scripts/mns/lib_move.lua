-- forget removes messages from everything.
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
  local old = redis.call('ZRANGEBYSCORE', x, '-inf', (now - retention) .. '', 'LIMIT', 0, 256)
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
