local call = redis.call

local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- sent reads when the message of a record was sent.
local function sent(record) return tonumber(string.sub(record, 1, 13)) end
