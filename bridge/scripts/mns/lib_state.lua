-- never is later than any moment.
local never = 1e14

-- received reads how often and when first a message was received, by those who
-- have it no more.
local function received(state)
  if not state then return 0, '0' end
  local count, first = string.match(state, '^(%d+) (%d+)$')
  return tonumber(count), first
end
