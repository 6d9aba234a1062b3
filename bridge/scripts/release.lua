-- Gives a partition up.
-- KEYS: header. ARGV: epoch, position, owner.
-- Answers 1 released, 2 behind, 3 outranked.
local stored = redis.call('GET', KEYS[1])
if not stored then return 2 end
local epoch, position, owner = parse(stored)
local claimed, standing = tonumber(ARGV[1]), tonumber(ARGV[2])
if epoch < claimed then return 2 end
if epoch > claimed or position > standing then return 3 end
if owner == '' and position == standing then return 1 end
if owner ~= ARGV[3] then return 3 end
if position < standing then return 2 end
redis.call('SET', KEYS[1], header(ARGV[1], ARGV[2], ''))
return 1
