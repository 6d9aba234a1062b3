-- ARGV: places.
for _, place in ipairs(ARGV) do
  if call('ZREM', z, place) == 1 then forget({place}) end
end
return 1
