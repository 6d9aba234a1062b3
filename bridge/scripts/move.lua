-- Changes the room or the call of a user.
-- KEYS: users, intents, idempotency keys. ARGV: user, r or k for the place, the
-- new place or empty, the place to be in or empty, the version to have or 0, the
-- idempotency key or empty, who keeps the intent, that one's node, body, reason.
-- Answers 0 refused, 1 moved, 2 repeated; the record; the intent.
local user, place, to, from, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[10]
local ms = now()
local r, known = load(KEYS[1], user, ms)

local past = ARGV[6] ~= '' and redis.call('HGET', KEYS[3], user)
past = past and cjson.decode(past) or {}
for _, move in ipairs(past) do
  if move.key == ARGV[6] then return {2, cjson.encode(r), cjson.encode(move.intent)} end
end

local former = r[place]
if (from ~= '' and former ~= from) or (ARGV[5] ~= '0' and r.v ~= tonumber(ARGV[5])) then
  return {0, known and cjson.encode(r) or '', ''}
end
if to == '' and not former then return {1, known and cjson.encode(r) or '', ''} end

r.v = following(r.v, ms)
r[place] = to ~= '' and to or nil
local intent = {f = 1, u = user, v = r.v, c = r.c, e = r.e, why = reason, at = ms}
if to ~= '' then intent.n = to end
if former and former ~= to then
  intent.l = {former}
  if reason ~= '' then
    r.x = {reason = reason, by = ARGV[8], at = ms}
    r.x[place == 'r' and 'room' or 'call'] = former
  end
end
if ARGV[6] ~= '' then
  past[#past + 1] = {key = ARGV[6], intent = intent}
  if #past > 16 then table.remove(past, 1) end
  redis.call('HSET', KEYS[3], user, cjson.encode(past))
end
if ARGV[9] ~= '' then intent.b = ARGV[9] end
local text = cjson.encode(intent)
redis.call('HSET', KEYS[2], debt(ARGV[7], user, r.v), text)
return {1, save(KEYS[1], user, r), text}
