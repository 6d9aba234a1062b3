-- Lists what incarnations have in a partition.
-- KEYS: connections, intents. ARGV: the incarnations.
-- Answers, for each of them, its connections and its intents.
local intents, answer = {}, {}
for i, edge in ipairs(ARGV) do
  intents[edge] = {}
  answer[i] = {redis.call('ZRANGEBYLEX', KEYS[1], '[' .. edge .. ' ', '(' .. edge .. '!'), intents[edge]}
end
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local list = intents[string.match(all[i], '^[^ ]+')]
  if list then list[#list + 1] = all[i + 1] end
end
return answer
