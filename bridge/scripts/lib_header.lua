-- A partition's header is "1 <epoch> <position> <owner>", where 1 is the format
-- and the owner is empty after a release.
local function header(epoch, position, owner)
  return '1 ' .. epoch .. ' ' .. position .. ' ' .. owner
end

-- parse: epoch and position as numbers, and the owner.
local function parse(text)
  local epoch, position, owner = string.match(text, '^1 (%d+) (%d+) (.*)$')
  if not epoch then error('partition header in an unknown format: ' .. text) end
  return tonumber(epoch), tonumber(position), owner
end
