-- A topic. a: its settings; s: its subscriptions, JSON, by name; q: those among
-- them that must not miss anything; k: what was published, by when it may be
-- forgotten.
local a, s, q, k = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function int(n) return string.format('%.0f', n) end
