-- Puts records back where the stored ones are older.
-- KEYS: users, connections. ARGV: user, record, user, record, ...
for i = 1, #ARGV, 2 do
  local user, back = ARGV[i], cjson.decode(ARGV[i + 1])
  local r = load(KEYS[1], user, back.s)
  if back.c > r.c then
    if r.e then redis.call('ZREM', KEYS[2], connection(r.e, user, r.c)) end
    r.c, r.e, r.s = back.c, back.e, back.s
    r.t, r.pe, r.pc, r.y, r.z = nil, nil, nil, nil, nil
    if r.e then redis.call('ZADD', KEYS[2], 0, connection(r.e, user, r.c)) end
  end
  if back.v > r.v then r.v, r.r, r.k, r.x = back.v, back.r, back.k, back.x end
  save(KEYS[1], user, r)
end
return 1
