-- wake tells the nodes that watch, once.
local function wake(watch, channel, name, gone)
  if not watch then return end
  redis.call('HDEL', a, 'watch')
  for node in string.gmatch(watch, '%S+') do redis.call('PUBLISH', channel .. node, name .. '\n' .. gone) end
end
