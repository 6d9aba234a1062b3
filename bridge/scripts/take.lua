-- Claims a partition.
-- KEYS: header, entries. ARGV: claimant, highest epoch heard of, 1 to leave a
-- partition alone that was never used or 2 one that the claimant does not hold,
-- and the dead.
-- Answers epoch (0 for no claim), position, the living holder, the epoch before
-- the claim (0 for none), key, value, key, value, ...
local stored = redis.call('GET', KEYS[1])
local epoch, position, owner = 0, 0, ''
if stored then
  epoch, position, owner = parse(stored)
elseif ARGV[3] == '1' then
  return {0, 0, '', 0}
end
if ARGV[3] == '2' and owner ~= ARGV[1] then return {0, 0, '', 0} end
local free = owner == '' or owner == ARGV[1]
for i = 4, #ARGV do free = free or owner == ARGV[i] end
if not free then return {0, 0, owner, epoch} end
local former = epoch
epoch = math.max(former + 1, now(), tonumber(ARGV[2]) + 1)
redis.call('SET', KEYS[1], header(digits(epoch), digits(position), ARGV[1]))
local answer = redis.call('HGETALL', KEYS[2])
local head = {epoch, position, '', former}
for i = 1, #answer do head[4 + i] = answer[i] end
return head
