-- Applies one batch of a partition, if it fits on what is there.
-- KEYS: header, entries and, if there are events, outbox and its count. ARGV:
-- the header as the batch expects it, the header after it, the number of
-- arguments that set an entry (key, value, ...), the number of keys to delete;
-- then those; then the events.
-- Answers 1 committed, 2 behind, 3 outranked.
local stored = redis.call('GET', KEYS[1])
if stored == ARGV[1] then
  local at = 4 + ARGV[3]
  for i = 5, at, 5000 do
    redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 4999, at)))
  end
  local last = at + ARGV[4]
  for i = at + 1, last, 5000 do
    redis.call('HDEL', KEYS[2], unpack(ARGV, i, math.min(i + 4999, last)))
  end
  post(KEYS[3], KEYS[4], last + 1, #ARGV)
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
if stored == ARGV[2] then return 1 end
if not stored then return 2 end
local epoch, position, owner = parse(stored)
local claimed, after, claimant = parse(ARGV[2])
if epoch < claimed then return 2 end
if epoch > claimed or owner ~= claimant or position > after then return 3 end
return 2
