-- holds reports whether a message still is in the state that a handle names.
local function holds(set, place, ending, now)
  local score = redis.call('ZSCORE', set, place)
  return score and tonumber(score) == tonumber(ending) and math.floor(ending / 1024) > now
end

-- received reads how often and when first a message was received.
local function received(state)
  if not state then return 0, 0 end
  local count, first = string.match(state, '^(%d+) (%d+)$')
  return tonumber(count), tonumber(first)
end
