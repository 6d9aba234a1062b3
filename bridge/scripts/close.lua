-- Ends a connection if it is still the user's latest.
-- KEYS: users, connections, intents, outbox, its count. ARGV: user, connection,
-- who keeps the intent, that one's node, reason, and the event if there is one.
-- Answers whether this call won, the record, and the intent.
local user, by = ARGV[1], ARGV[3]
local ms = now()
local r, known = load(KEYS[1], user, ms)
if not known then return {0, '', ''} end
if r.c ~= tonumber(ARGV[2]) then return {0, cjson.encode(r), ''} end
if not r.e then
  if r.y ~= by then return {0, cjson.encode(r), ''} end
  if not r.z then return {1, cjson.encode(r), ''} end
  local intent = redis.call('HGET', KEYS[3], debt(by, user, r.z))
  if not intent then return {0, cjson.encode(r), ''} end
  return {1, cjson.encode(r), intent}
end
local edge, intent = r.e, ''
redis.call('ZREM', KEYS[2], connection(edge, user, r.c))
r.e, r.s, r.y, r.z = nil, ms, by, nil
if r.r or r.k then
  r.v = following(r.v, ms)
  r.z = r.v
  local leave = {}
  if r.r then leave[1] = r.r end
  if r.k then leave[#leave + 1] = r.k end
  intent = cjson.encode({f = 1, u = user, v = r.v, c = r.c, e = edge, l = leave, o = true, why = ARGV[5], at = ms})
  redis.call('HSET', KEYS[3], debt(by, user, r.v), intent)
  r.x = {room = r.r, call = r.k, reason = ARGV[5], by = ARGV[4], at = ms}
  r.r, r.k = nil, nil
end
post(KEYS[4], KEYS[5], 6, #ARGV)
return {1, save(KEYS[1], user, r), intent}
