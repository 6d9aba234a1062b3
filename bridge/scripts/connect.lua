-- Makes a connection the user's latest.
-- KEYS: users, connections, outbox, its count. ARGV: user, edge, token, and the
-- event if there is one.
-- Answers the record, and edge and number of the connection superseded.
local user, edge = ARGV[1], ARGV[2]
local ms = now()
local r = load(KEYS[1], user, ms)
if r.t == ARGV[3] then return {cjson.encode(r), r.pe or '', r.pc or 0} end
r.pe, r.pc = r.e, nil
if r.e then
  r.pc = r.c
  redis.call('ZREM', KEYS[2], connection(r.e, user, r.c))
else
  r.s = ms
end
r.c, r.e, r.t = following(r.c, ms), edge, ARGV[3]
redis.call('ZADD', KEYS[2], 0, connection(edge, user, r.c))
post(KEYS[3], KEYS[4], 4, #ARGV)
return {save(KEYS[1], user, r), r.pe or '', r.pc or 0}
