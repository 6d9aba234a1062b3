-- int writes a number in full. Only numbers of 15 digits and more need it:
-- milliseconds are written in full as they are.
local function int(n) return string.format('%.0f', n) end

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
