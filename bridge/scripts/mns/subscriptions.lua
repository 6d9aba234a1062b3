if redis.call('EXISTS', a) == 0 then return {} end
local names = redis.call('HKEYS', s)
table.insert(names, 1, 'topic')
return names
