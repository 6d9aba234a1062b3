-- Names the incarnations that have connections or intents in a partition.
-- KEYS: connections, intents.
local found, names = {}, {}
local function add(name)
  if not found[name] then
    found[name] = true
    names[#names + 1] = name
  end
end
local from = '-'
while true do
  local first = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, 1)[1]
  if not first then break end
  local edge = string.match(first, '^[^ ]+')
  add(edge)
  from = '[' .. edge .. '!' -- the byte after the space: behind all of this edge
end
for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
  add(string.match(name, '^[^ ]+'))
end
return names
