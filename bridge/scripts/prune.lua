-- Forgets users that are nowhere and have been offline and still for long.
-- KEYS: users, idempotency keys. ARGV: for how many ms, and the users.
-- Answers how many were forgotten.
local before, gone = now() - tonumber(ARGV[1]), 0
for i = 2, #ARGV do
  local text = redis.call('HGET', KEYS[1], ARGV[i])
  local r = text and cjson.decode(text)
  if r and r.f == 1 and not (r.e or r.r or r.k) and math.max(r.s, r.v) < before then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[2], ARGV[i])
    gone = gone + 1
  end
end
return gone
