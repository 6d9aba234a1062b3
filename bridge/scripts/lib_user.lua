-- A user's record is a JSON object. Fields that this version does not know are
-- kept. f is the format, c and e the latest connection and the edge that holds
-- it, t its token, pe and pc what it superseded, y who closed it and z the
-- version of the intent that the close left, r and k the room and the call, v
-- their version, s since when online or offline, x the last removal.

local function read(text)
  local r = cjson.decode(text)
  if r.f ~= 1 then error('user record in an unknown format: ' .. text) end
  return r
end

-- load: the record of a user, or a new one; and whether there was one.
local function load(users, user, ms)
  local text = redis.call('HGET', users, user)
  if not text then return {f = 1, c = 0, v = 0, s = ms}, false end
  return read(text), true
end

-- save: stores a record and returns its text.
local function save(users, user, r)
  local text = cjson.encode(r)
  redis.call('HSET', users, user, text)
  return text
end

-- connection: what stands for a connection in the partition's sorted set of
-- them. All of one edge are neighbours there.
local function connection(edge, user, conn)
  return edge .. ' ' .. user .. ' ' .. digits(conn)
end

-- debt: the name of an intent in the partition's hash of them.
local function debt(by, user, version)
  return by .. ' ' .. user .. ' ' .. digits(version)
end
