-- ARGV: of each handle epoch, 'd' or 'i', place, end, how the set names it.
-- Answers of each 1 or 0, in one word.
local f = call('HMGET', a, 'epoch', 'soon', 'retention', 'again')
local epoch = f[1]
if not epoch then return {} end
local now, out, gone = clock(), {}, {}
-- What has expired is not there, although nothing may have come by to remove it.
local aged = not f[2] or now >= tonumber(f[2])
for k = 1, #ARGV, 5 do
  local set, place, ok = i, ARGV[k + 2], ARGV[k] == epoch and tonumber(ARGV[k + 3]) > now
  if ARGV[k + 1] == 'd' then set = d end
  if ok and aged then
    local record = call('HGET', m, place)
    ok = record and sent(record) + f[3] > now
  end
  if ok and call('ZREM', set, ARGV[k + 4]) == 1 then
    gone[#gone + 1], out[#out + 1] = place, '1'
  else out[#out + 1] = '0' end
end
if #gone > 0 then
  call('HDEL', m, unpack(gone))
  if f[4] then call('HDEL', s, unpack(gone)) end
end
return {table.concat(out)}
