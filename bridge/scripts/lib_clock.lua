-- now: the store's clock in milliseconds.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- digits: a whole number as text. tostring would round it from 15 digits on.
local function digits(n)
  return string.format('%.0f', n)
end

-- following: the next number of a series that rises with the clock, so that it
-- does not repeat even where the series was forgotten.
local function following(last, ms)
  return math.max(last + 1, ms)
end
