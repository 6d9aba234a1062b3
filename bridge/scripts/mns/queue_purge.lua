if redis.call('EXISTS', a) == 0 then return 0 end
redis.call('UNLINK', m, s, r, d, i, z)
return 1
